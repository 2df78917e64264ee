package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/server"
	"go.uber.org/goleak"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit/leak"
)

// TestMain fails on goroutines that outlive the tests, except those that belong to the process:
// what Kitex keeps, and the group that all suites share.
func TestMain(m *testing.M) {
	immortals := append(leak.Kitex(), leak.SharedGroup()...)
	signals := goleak.IgnoreAnyFunction("github.com/cloudwego/kitex/internal/server.DefaultSysExitSignal.func1")
	goleak.VerifyTestMain(m, append(immortals, signals)...)
}

var shortLoad = load{callers: 5, duration: 200 * time.Millisecond}

// TestBoth runs what go run ./examples/echo does, for a shorter time.
func TestBoth(t *testing.T) {
	klog.SetLevel(klog.LevelWarn)
	for _, shares := range []bool{false, true} {
		var out bytes.Buffer
		if err := run(config{addr: "127.0.0.1:0", mux: shares, load: shortLoad}, &out); err != nil {
			t.Fatalf("mux %t: %v\n%s", shares, err, out.String())
		}
		for _, want := range []string{"Notify           ok", "5 callers:", "connections used", "server shut down"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("mux %t: got %q, want it to contain %q", shares, out.String(), want)
			}
		}
	}
}

// TestHalvesExclude: -server and -client together are refused.
func TestHalvesExclude(t *testing.T) {
	if err := run(config{server: true, client: true}, new(bytes.Buffer)); err == nil {
		t.Error("got no error")
	}
}

// TestClientOfStockServer runs the client against a server on Kitex's own transport.
func TestClientOfStockServer(t *testing.T) {
	ln := listen(t)
	serve(t, echoservice.NewServer(newService(), server.WithListener(ln)))
	var out bytes.Buffer
	if err := run(config{client: true, addr: ln.Addr().String(), load: shortLoad}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

// TestServerOfStockClient calls every method of the server from a client on Kitex's own transport.
func TestServerOfStockClient(t *testing.T) {
	ln := listen(t)
	serve(t, newServer(ln))
	cli, err := echoservice.NewClient("echo", client.WithHostPorts(ln.Addr().String()),
		client.WithConnectTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := callEveryMethod(cli, new(bytes.Buffer)); err != nil {
		t.Error(err)
	}
	if _, err := cli.Repeat(context.Background(), "x", -1, ""); err == nil {
		t.Error("a negative count was accepted")
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serve runs s until the test ends.
func serve(t *testing.T, s server.Server) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
