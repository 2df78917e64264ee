package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kiteline/kiteline/transport/buffer"
)

// patience is how long what the tests have let go of may take to end: a dial of stock Kitex's,
// which its call has left behind, goes on until its own timeout.
const patience = 5 * time.Second

// immortals are goroutines of Kitex's and netpoll's that outlive every server and client by design.
//
//nolint:gochecknoglobals // a constant table
var immortals = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/bytedance/gopkg/cloud/circuitbreaker.(*sharedTicker).tick"), // of Kitex's circuit breakers
	goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*defaultPoll).Wait"),
	// A stopping netpollmux server may wait forever for a queue that a panic left
	// (mux/shard_queue.go, Close).
	goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll/mux.(*ShardQueue).Close"),
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/loadbalance/lbcache.(*BalancerFactory).watcher"),
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/utils.(*SharedTicker).Tick"),
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/client.(*timeoutPool).createTicker.func1"),
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/client.(*timeoutPool).createWorker.func1"),
	goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/grpc.preallocateForStream"),
}

// Main is the body of a TestMain. Tests give every suite and dialer a group of
// their own and close it: the group that suites share by default is found here.
func Main(m *testing.M) {
	startPollers()
	before := descriptors()
	code := m.Run()
	if code == 0 {
		code = check(before)
	}
	os.Exit(code)
}

func check(before int) int {
	code := 0
	var left error // goleak looks for half a second by itself
	if !soon(func() bool { left = goleak.Find(immortals...); return left == nil }) {
		fmt.Fprintf(os.Stderr, "goroutines left after all tests: %v\n", left)
		code = 1
	}
	if !soon(func() bool { return descriptors() <= before }) {
		fmt.Fprintf(os.Stderr, "descriptors: %d before the tests, %d after\n", before, descriptors())
		code = 1
	}
	// Connections leave what they held to the collector, whose cleanups run on a
	// goroutine of their own.
	collected := func() bool {
		runtime.GC()
		blocks, _ := buffer.Outstanding()
		return blocks == 0
	}
	if !soon(collected) {
		blocks, _ := buffer.Outstanding()
		fmt.Fprintf(os.Stderr, "%d blocks outstanding after all tests\n", blocks)
		code = 1
	}
	return code
}

// descriptors returns how many descriptors the process has of the kinds that
// connections and pollers open; 0 where there is no /proc.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	n := 0
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil {
			continue
		}
		for _, kind := range []string{"socket:", "anon_inode:[eventpoll]", "anon_inode:[eventfd]"} {
			if strings.HasPrefix(target, kind) {
				n++
			}
		}
	}
	return n
}

// soon asks ok until it is true or patience is over.
func soon(ok func() bool) bool {
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if ok() {
			return true
		}
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
}
