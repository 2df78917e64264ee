package leak

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/buffer"
)

// Main is the body of a TestMain. Tests give every suite and dialer a group of their own and close
// it. So the group that suites share by default is found here, unless the immortals have it.
func Main(m *testing.M, immortals ...goleak.Option) { os.Exit(Run(m, immortals...)) }

// Run is Main without the exit: it returns the code to exit with.
func Run(m *testing.M, immortals ...goleak.Option) int {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // opens the runtime's own poller
		ln.Close()
	}
	before := len(Descriptors())
	code := m.Run()
	if code != 0 {
		return code
	}
	const within = testkit.Patience
	if err := errors.Join(goroutines(within, immortals), descriptors(within, before), blocks(within)); err != nil {
		fmt.Fprintln(os.Stderr, "after all tests:", err)
		return 1
	}
	return 0
}

// Goroutines waits until no goroutines other than immortals are left. It returns an error if that
// takes longer than testkit.Patience.
func Goroutines(immortals ...goleak.Option) error { return goroutines(testkit.Patience, immortals) }

func goroutines(within time.Duration, immortals []goleak.Option) (err error) {
	// goleak looks for about half a second by itself, which may be too short on a busy machine.
	testkit.HoldsWithin(within, func() bool { err = goleak.Find(immortals...); return err == nil })
	return err
}

// Descriptors returns the process's descriptors of the kinds that connections and pollers open, or
// of the given kinds: each as its number, "=" and what /proc says of it. It returns nothing on a
// system without /proc.
func Descriptors(kinds ...string) []string {
	if len(kinds) == 0 {
		kinds = []string{"socket:", "anon_inode:[eventpoll]", "anon_inode:[eventfd]"}
	}
	entries, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return nil
	}
	var all []string
	for _, entry := range entries {
		target, err := os.Readlink(entry)
		if err != nil {
			continue
		}
		for _, kind := range kinds {
			if strings.HasPrefix(target, kind) {
				all = append(all, filepath.Base(entry)+"="+target)
			}
		}
	}
	return all
}

func descriptors(within time.Duration, before int) error {
	var left []string
	if testkit.HoldsWithin(within, func() bool { left = Descriptors(); return len(left) <= before }) {
		return nil
	}
	return fmt.Errorf("more than the %d descriptors before the tests are left: %q", before, left)
}

// blocks waits until no block of memory is outstanding. Connections leave what they held to the
// collector, whose cleanups run on a goroutine of their own.
func blocks(within time.Duration) error {
	var left int64
	collected := func() bool {
		runtime.GC()
		left, _ = buffer.Outstanding()
		return left == 0
	}
	if testkit.HoldsWithin(within, collected) {
		return nil
	}
	return fmt.Errorf("%d blocks are outstanding", left)
}
