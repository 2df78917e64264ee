package transport

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
)

// slowListener is a listener whose Close waits for free.
type slowListener struct {
	net.Listener
	free <-chan struct{}
}

func (l *slowListener) Close() error {
	<-l.free
	return l.Listener.Close()
}

// TestShutdownTellsHandlersBesideClose: the handlers are told of the end while a listener's Close
// is still running.
func TestShutdownTellsHandlersBesideClose(t *testing.T) {
	free, told := make(chan struct{}), make(chan struct{}, 1)
	h := &toldHandler{fakeHandler: &fakeHandler{}, told: told}
	f := NewTransServerFactory(WithGroup(newTestGroup(t)))
	s := f.NewTransServer(&remote.ServerOption{ExitWaitTime: time.Hour}, h)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, stopped := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.BootstrapServer(&slowListener{ln, free}) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "it serves", func() bool { return h.count("active") == 1 })
	go func() { stopped <- s.Shutdown() }()
	receive(t, "GracefulShutdown while the listener closes", told)
	close(free)
	if err := receive(t, "Shutdown", stopped); err != nil {
		t.Error(err)
	}
	if err := receive(t, "Serve", served); err != nil {
		t.Error(err)
	}
}

// toldHandler reports when it is told of the server's end.
type toldHandler struct {
	*fakeHandler
	told chan<- struct{}
}

func (h *toldHandler) GracefulShutdown(context.Context) error {
	h.told <- struct{}{}
	return nil
}

// TestShutdownWaitsForOtherHandlers: handlers that are not the suite's may use connections that
// look idle, so none is closed before they have returned from their shutdown.
func TestShutdownWaitsForOtherHandlers(t *testing.T) {
	began, free := make(chan struct{}), make(chan struct{})
	h := onRead(echoLine)
	h.onShutdown = func(context.Context) error {
		close(began)
		<-free
		return nil
	}
	s := startTransServer(t, &remote.ServerOption{}, h, WithGroup(newTestGroup(t)))
	c := s.dial()
	exchange(t, c, "ping")
	stopped := make(chan error, 1)
	go func() { stopped <- s.shutdown() }()
	receive(t, "GracefulShutdown", began)
	timer := time.NewTimer(2 * shutdownGrace)
	defer timer.Stop()
	<-timer.C
	exchange(t, c, "late")
	close(free)
	wantClosed(t, c)
	if err := receive(t, "Shutdown", stopped); err != nil {
		t.Error(err)
	}
}
