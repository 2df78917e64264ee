package testpeer

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kiteline/kiteline/transport/buffer"
)

// Main is the body of a TestMain: it runs the tests and ends the process. The run fails if
// goroutines or pooled blocks outlive the tests.
func Main(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if code == 0 {
		code = checkLeaks()
	}
	os.Exit(code)
}

func checkLeaks() int {
	left := goleak.Find()
	for range 10 { // each looks for half a second, which may be too short on a busy machine
		if left != nil {
			left = goleak.Find()
		}
	}
	if left != nil {
		fmt.Fprintf(os.Stderr, "goroutines left after all tests: %v\n", left)
		return 1
	}
	// Connections leave what they held to the collector, whose cleanups run on a
	// goroutine of their own.
	for range 500 {
		runtime.GC()
		if blocks, _ := buffer.Outstanding(); blocks == 0 {
			return 0
		}
		<-time.After(10 * time.Millisecond)
	}
	blocks, _ := buffer.Outstanding()
	fmt.Fprintf(os.Stderr, "%d blocks outstanding after all tests\n", blocks)
	return 1
}
