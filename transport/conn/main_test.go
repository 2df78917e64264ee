package conn_test

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kiteline/kiteline/transport/buffer"
)

// shortageEnv tells the test binary that it is the child of TestShortage.
const shortageEnv = "KITELINE_TEST_SHORTAGE"

// TestMain fails the run if goroutines, descriptors or pooled blocks outlive the tests.
func TestMain(m *testing.M) {
	// Tests that run side by side here spend most of their time waiting.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	flag.Parse()
	if len(os.Args) > 1 && os.Getenv(shortageEnv) != "" {
		os.Exit(m.Run()) // the child of TestShortage: its parent looks after it
	}
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // opens the runtime's own poller
		ln.Close()
	}
	before := openDescriptors()
	code := m.Run()
	if code == 0 {
		code = checkLeaks(before)
	}
	os.Exit(code)
}

func checkLeaks(before int) int {
	code := 0
	if err := goleak.Find(); err != nil {
		fmt.Fprintf(os.Stderr, "leaked goroutines: %v\n", err)
		code = 1
	}
	if !eventually(5*time.Second, func() bool { return openDescriptors() <= before }) {
		fmt.Fprintf(os.Stderr, "descriptors: %d before the tests, %d after\n", before, openDescriptors())
		code = 1
	}
	// Connections leave what they held to the garbage collector, whose cleanups run on a goroutine
	// of their own.
	settled := eventually(5*time.Second, func() bool {
		runtime.GC()
		blocks, _ := buffer.Outstanding()
		return blocks == 0
	})
	if !settled {
		blocks, _ := buffer.Outstanding()
		fmt.Fprintf(os.Stderr, "%d blocks outstanding after all tests\n", blocks)
		code = 1
	}
	return code
}

// openDescriptors returns how many descriptors the process has, where that can
// be seen; otherwise 0.
func openDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	sockets := 0
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && isOurs(target) {
			sockets++
		}
	}
	return sockets
}

// isOurs reports whether connections and pollers open descriptors of this kind.
func isOurs(target string) bool {
	for _, kind := range []string{"socket:", "anon_inode:[eventpoll]", "anon_inode:[eventfd]"} {
		if len(target) >= len(kind) && target[:len(kind)] == kind {
			return true
		}
	}
	return false
}

// eventually calls ok until it returns true or patience is over.
func eventually(patience time.Duration, ok func() bool) bool {
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
			return ok()
		}
	}
}
