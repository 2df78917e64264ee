package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// fakeListener accepts the connections it is sent, or fails.
type fakeListener struct {
	conns  chan net.Conn
	fail   atomic.Pointer[error]
	calls  atomic.Int32
	closed chan struct{}
	once   sync.Once
}

func newFakeListener() *fakeListener {
	return &fakeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *fakeListener) Accept() (net.Conn, error) {
	l.calls.Add(1)
	if err := l.fail.Load(); err != nil {
		return nil, &net.OpError{Op: "accept", Err: *err}
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *fakeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *fakeListener) Addr() net.Addr { return fakeAddr{} }

func (l *fakeListener) failWith(err error) { l.fail.Store(&err) }

// TestServeIncomparable serves a listener whose type cannot be the key of a map.
func TestServeIncomparable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(ServerConfig{Group: newFakeGroup(t, 1)})
		testkit.Must(t, err)
		served := make(chan error, 1)
		go func() {
			served <- s.Serve(struct {
				net.Listener
				names []string
			}{Listener: newFakeListener()})
		}()
		synctest.Wait()
		s.StopAccepting()
		testkit.Check(t, <-served)
		_ = s.Close()
	})
}

// wsaENOTCONN is the error of AcceptEx for a connection that was reset in the accept queue.
const wsaENOTCONN syscall.Errno = 10057

// TestAcceptShortage: after a transient error Accept is tried again after a growing pause. The
// error is reported about once per second, however many acceptors there are. Shutdown ends the
// attempts.
func TestAcceptShortage(t *testing.T) {
	for _, failure := range []error{
		os.NewSyscallError("accept4", syscall.EMFILE),
		os.NewSyscallError("accept4", syscall.ENOBUFS),
		os.NewSyscallError("accept4", syscall.ETIMEDOUT),
		os.NewSyscallError("wsarecv", wsaENOTCONN),
		fmt.Errorf("wrapper: %w", syscall.ENOTCONN), // of a wrapper's own system call
		temporaryError{},
		os.ErrDeadlineExceeded,
	} {
		for _, acceptors := range []int{1, 4} {
			testkit.Bubble(t, failure.Error(), func(t *testing.T) {
				var told atomic.Int32
				s, err := NewServer(ServerConfig{
					Group: newFakeGroup(t, 1), Acceptors: acceptors,
					OnAcceptError: func(err error) {
						told.Add(1)
						testkit.ErrorIs(t, err, failure)
					},
				})
				testkit.Must(t, err)
				ln := newFakeListener()
				ln.failWith(failure)
				served := make(chan error, 1)
				go func() { served <- s.Serve(ln) }()
				const seconds = 20
				select {
				case err := <-served:
					t.Fatalf("Serve ended with %v", err)
				case <-time.After(seconds * time.Second):
				}
				if got := told.Load(); got < seconds/3 || got > seconds+1 {
					t.Errorf("OnAcceptError was called %d times in %d s, want about once per second", got, seconds)
				}
				if got := int(ln.calls.Load()); got > acceptors*(2*seconds+12) {
					t.Errorf("got %d attempts in %d s by %d acceptors, want few", got, seconds, acceptors)
				}
				// The server recovers within half a second, and so serves again within one.
				ln.fail.Store(nil)
				time.Sleep(time.Second / 2)
				before := ln.calls.Load()
				a, b := net.Pipe()
				ln.conns <- b
				synctest.Wait()
				if s.ConnCount() != 1 || ln.calls.Load() != before+1 {
					t.Errorf("got %d connections after the recovery, want 1", s.ConnCount())
				}
				a.Close()
				testkit.Check(t, s.Close())
				if err := <-served; err != nil {
					t.Errorf("Serve: got %v, want nil", err)
				}
			})
		}
	}
}

// temporaryError is a temporary net.Error that is not a timeout.
type temporaryError struct{}

func (temporaryError) Error() string   { return "temporary" }
func (temporaryError) Timeout() bool   { return false }
func (temporaryError) Temporary() bool { return true }

// fatalErrnos returns the system's error numbers that say that a descriptor cannot accept.
func fatalErrnos() []syscall.Errno {
	if runtime.GOOS == "windows" {
		const invalidHandle, wsaEBADF, wsaEINVAL, wsaENOTSOCK, wsaEOPNOTSUPP = 6, 10009, 10022, 10038, 10045
		return []syscall.Errno{invalidHandle, wsaEBADF, wsaEINVAL, wsaENOTSOCK, wsaEOPNOTSUPP}
	}
	return []syscall.Errno{syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP}
}

// TestTransientErrnos checks every error number of the systems.
func TestTransientErrnos(t *testing.T) {
	fatal := fatalErrnos()
	for errno := syscall.Errno(1); errno < 12000; errno++ {
		err := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", errno)}
		if got, want := isTransient(err), !slices.Contains(fatal, errno); got != want {
			t.Errorf("%d (%v): got transient %v, want %v", errno, errno, got, want)
		}
	}
}

// TestAcceptFails: an error that is not transient ends Serve, which returns it.
func TestAcceptFails(t *testing.T) {
	failures := []error{errors.New("broken"), io.EOF, net.ErrClosed}
	for _, errno := range fatalErrnos() {
		failures = append(failures, os.NewSyscallError("accept4", errno))
	}
	for _, failure := range failures {
		testkit.Bubble(t, failure.Error(), func(t *testing.T) {
			s, err := NewServer(ServerConfig{
				Group: newFakeGroup(t, 1), Acceptors: 3,
				OnAcceptError: func(err error) { t.Errorf("told of %v, want it returned only", err) },
			})
			testkit.Must(t, err)
			ln := newFakeListener()
			ln.failWith(failure)
			giveUp := time.AfterFunc(time.Minute, s.StopAccepting)
			defer giveUp.Stop()
			testkit.ErrorIs(t, s.Serve(ln), failure)
			testkit.Check(t, s.Shutdown(context.Background()))
			if err := s.Serve(newFakeListener()); err != nil {
				t.Errorf("Serve after Shutdown: got %v, want nil", err)
			}
		})
	}
}

// TestAcceptedDuringShutdown: a connection that Accept returns while the server
// ends does not outlive it.
func TestAcceptedDuringShutdown(t *testing.T) {
	for _, how := range []string{"Shutdown", "Close", "expired Shutdown"} {
		for _, handled := range []bool{true, false} {
			testkit.Bubble(t, how, func(t *testing.T) {
				var c *Conn
				preparing, release := make(chan struct{}), make(chan struct{})
				cfg := ServerConfig{Group: newFakeGroup(t, 1)}
				cfg.OnPrepare = func(pc *Conn) context.Context {
					c = pc
					close(preparing)
					<-release
					return nil
				}
				if handled {
					cfg.OnRequest = (&record{}).config().OnRequest
				}
				s, err := NewServer(cfg)
				testkit.Must(t, err)
				ln := newFakeListener()
				go func() { _ = s.Serve(ln) }()
				client, server := net.Pipe()
				defer client.Close()
				ln.conns <- server
				<-preparing
				ended := make(chan error, 1)
				go func() {
					switch ctx, cancel := context.WithTimeout(context.Background(), time.Second); how {
					case "Close":
						cancel()
						ended <- s.Close()
					case "Shutdown":
						cancel()
						ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
						ended <- s.Shutdown(ctx)
						cancel()
					default:
						_ = s.Shutdown(ctx)
						ended <- nil
						cancel()
					}
				}()
				time.Sleep(2 * time.Second)
				close(release)
				time.Sleep(2 * time.Second)
				if how == "Shutdown" && !handled {
					c.Close() // its user must close it
				}
				if err := <-ended; err != nil {
					t.Errorf("got %v, want nil", err)
				}
				synctest.Wait()
				if got := s.ConnCount(); got != 0 || c.IsActive() {
					t.Errorf("got %d connections, active %v, want none", got, c.IsActive())
					c.Close()
				}
			})
		}
	}
}
