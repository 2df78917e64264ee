package hardening

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/limit"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	kiteline "github.com/kiteline/kiteline/transport"
)

// serverOptions makes Kitex's options of a role's arguments.
var serverOptions = map[string]func(n int) server.Option{
	"timeout-ms": func(n int) server.Option { return server.WithReadWriteTimeout(time.Duration(n) * time.Millisecond) },
	"idle-ms":    func(n int) server.Option { return server.WithMaxConnIdleTime(time.Duration(n) * time.Millisecond) },
	"connections": func(n int) server.Option {
		return server.WithLimit(&limit.Option{MaxConnections: n})
	},
	"handlers": func(n int) server.Option {
		return server.WithSuite(kiteline.NewServerSuite(kiteline.WithMuxServer(kiteline.MuxServerConfig{MaxHandlers: n, MaxHandlersPerConn: n})))
	},
}

// slotTime is how long a call occupies one of the slots that a server's handlers share.
const slotTime = 10 * time.Millisecond

// scarce returns a handler whose calls need one of n slots: such a server can bear n/slotTime.
func scarce(n int) func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error) {
	slots := make(chan struct{}, n)
	return func(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
		slots <- struct{}{}
		defer func() { <-slots }()
		<-time.After(slotTime)
		return &echo.EchoResponse{Message: r.Message}, nil
	}
}

// serve is the role of an echo server that answers questions about itself. Its arguments are
// name=number: descriptors; slots; loopback, to listen on all of 127.0.0.0/8 and take that many
// milliseconds for a call; or one of serverOptions.
func serve(t *testing.T, role *harness.Role) {
	var opts []server.Option
	service := new(harness.Service)
	cfg := harness.ServerConfig{Transport: harness.Kiteline}
	for _, argument := range role.Arguments {
		name, value, _ := strings.Cut(argument, "=")
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatalf("argument %q: %v", argument, err)
		}
		switch name {
		case "descriptors":
			limitDescriptors(t, n)
		case "slots":
			service.OnEcho = scarce(n)
		case "loopback":
			cfg.Listener = listenEverywhere(t)
			service.OnEcho = func(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
				<-time.After(time.Duration(n) * time.Millisecond)
				return &echo.EchoResponse{Message: r.Message}, nil
			}
		default:
			opts = append(opts, serverOptions[name](n))
		}
	}
	logs := harness.NewLogs(t)
	cfg.New, cfg.Options = harness.NewEcho(service), opts
	s := harness.Start(t, cfg)
	role.Say("%v", s.Addr)
	for {
		words := role.Heard()
		if words == nil {
			return
		}
		switch words[0] {
		case "open":
			role.Say("%d", s.Connections.Open())
		case "accepted":
			role.Say("%d", s.Connections.Accepted())
		case "ended":
			role.Say("%d", s.Connections.Ended())
		case "goroutines":
			role.Say("%d", runtime.NumGoroutine())
		case "heap":
			role.Say("%d", harness.LiveHeap())
		case "peak": // of the process's memory since the last such question
			role.Say("%d", peakMemory(t))
		case "logged":
			role.Say("%d", len(logs.Matching(words[1])))
		default:
			t.Fatalf("asked for %q", words)
		}
	}
}

// listenEverywhere listens on a free port of all addresses.
func listenEverywhere(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// peakMemory returns the largest resident set since it was last called, in bytes; see proc(5),
// clear_refs.
func peakMemory(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var peak int64
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &peak); err == nil {
			break
		}
	}
	// Without the reset the peak stays, which is no less strict.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	return peak << 10
}

// startServer starts a server in a process of its own and returns its address.
func startServer(t *testing.T, arguments ...string) (*harness.Child, net.Addr) {
	t.Helper()
	child := harness.StartChild(t, nil, "server", arguments...)
	addr, err := net.ResolveTCPAddr("tcp", child.Hear(4*testkit.Patience))
	if err != nil {
		t.Fatal(err)
	}
	return child, addr
}
