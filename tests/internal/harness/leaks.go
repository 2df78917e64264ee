package harness

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// Main runs a package's tests with Kitex's log captured, and fails if goroutines or
// sockets are left over. Use it as TestMain's body.
func Main(m *testing.M) { os.Exit(Run(m)) }

// SideBySide makes eight parallel tests run at a time, unless the command line sets the number:
// such tests wait most of their time. It is called before Main.
func SideBySide() {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
}

// Run is Main without the exit: it returns the code to exit with.
func Run(m *testing.M) int {
	ownMachine()
	recordLogs()
	code := m.Run()
	if code == 0 {
		code = checkLeaks()
	}
	return code
}

// immortals are goroutines that outlive every server and client by design.
var immortals = []goleak.Option{
	// The pollers of netpoll, started on first use and never stopped.
	goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*defaultPoll).Wait"),
	// If a stopping netpollmux server writes to a connection that its client has just closed, it
	// panics, and then waits forever for the queue that the panic left (mux/shard_queue.go, Close).
	goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll/mux.(*ShardQueue).Close"),
	// A stock stream's reader, which was once seen to wait after its connection had ended. Our
	// connections have no such frame: they are not netpoll's.
	goleak.IgnoreTopFunction("github.com/cloudwego/netpoll.(*connection).waitRead"),
	// The ticker ends with its next tick.
	goleak.IgnoreAnyFunction("github.com/bytedance/gopkg/cloud/circuitbreaker.(*sharedTicker).tick"),
	// Kitex keeps the load balancers of a resolver for the next client that has the same one.
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/loadbalance/lbcache.(*BalancerFactory).watcher"),
	// Kitex refreshes those load balancers with one ticker per interval, and evicts from its own
	// pools with another.
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/utils.(*SharedTicker).Tick"),
	// Kitex runs calls with a timeout in workers. For a while they, and a ticker, wait for the next
	// call.
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/client.(*timeoutPool).createTicker.func1"),
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/client.(*timeoutPool).createWorker.func1"),
	// Kitex never stops the ticker of a rate limiter. WithLimit with an UpdateControl makes one.
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/limiter.(*qpsLimiter).startTicker"),
	// Kitex's gRPC makes the streams of a client ahead of time.
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/grpc.preallocateForStream"),
	// Kitex's TTHeader streaming sleeps for a minute before it checks a connection that was put
	// back.
	goleak.IgnoreAnyFunction("github.com/cloudwego/kitex/pkg/remote/trans/ttstream.(*muxConnTransPool).Put.func1"),
	// The group that Kiteline's suites share lives as long as the process: its poller,
	goleak.IgnoreAnyFunction("github.com/kiteline/kiteline/transport/poller.(*Poller).loop"),
	// and its idle workers. A worker in a handler has another function on top.
	goleak.IgnoreTopFunction("github.com/kiteline/kiteline/transport/conn.(*dispatcher).work"),
}

// findGoroutines returns an error if goroutines other than immortals are left. goleak looks for
// about a second, which may be too short on a busy machine.
func findGoroutines(options ...goleak.Option) (err error) {
	options = append(options, immortals...)
	holdsWithin(Patience, func() bool { err = goleak.Find(options...); return err == nil })
	return err
}

func checkLeaks() int {
	if err := findGoroutines(); err != nil {
		fmt.Fprintf(os.Stderr, "goroutines left after all tests: %v\n", err)
		return 1
	}
	var left []string
	if !holdsWithin(Patience, func() bool { left = ownSockets(); return len(left) == 0 }) {
		fmt.Fprintf(os.Stderr, "sockets left after all tests: %v\n", left)
		return 1
	}
	return 0
}

// ownSockets is Sockets without the connections of stock peers: netpoll sometimes leaves a
// connection open whose peer has gone while bytes of it were unread.
func ownSockets() []string {
	return slices.DeleteFunc(Sockets(), func(socket string) bool {
		number, _, _ := strings.Cut(socket, "=")
		fd, err := strconv.Atoi(number)
		return err == nil && isNetpolls(fd)
	})
}

// Sockets returns the descriptors of the process that are sockets, as /proc names them, or nothing
// without a /proc.
func Sockets() []string {
	descriptors, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return nil
	}
	var sockets []string
	for _, d := range descriptors {
		target, err := os.Readlink(d)
		if err == nil && strings.HasPrefix(target, "socket:") {
			sockets = append(sockets, filepath.Base(d)+"="+target)
		}
	}
	return sockets
}

// Baseline is the number of goroutines and sockets at a time.
type Baseline struct {
	goroutines goleak.Option
	sockets    int
}

// NewBaseline takes the baseline for Restored.
func NewBaseline() Baseline {
	return Baseline{goroutines: goleak.IgnoreCurrent(), sockets: len(Sockets())}
}

// Restored waits until no goroutine that started since then is left, except idle workers, and no
// socket was gained. The test fails if that takes longer than Patience.
func (b Baseline) Restored(t testing.TB) {
	t.Helper()
	if err := findGoroutines(b.goroutines); err != nil {
		t.Errorf("goroutines left: %v", err)
	}
	Eventually(t, fmt.Sprintf("at most %d sockets", b.sockets), func() bool { return len(Sockets()) <= b.sockets })
}
