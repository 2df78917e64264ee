package harness

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/internal/testkit/leak"
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
	recordLogs()
	code := m.Run()
	if code == 0 {
		code = checkLeaks()
	}
	return code
}

// immortals are goroutines that outlive every server and client by design.
func immortals() []goleak.Option { return append(leak.Kitex(), leak.SharedGroup()...) }

func checkLeaks() int {
	if err := leak.Goroutines(immortals()...); err != nil {
		fmt.Fprintf(os.Stderr, "goroutines left after all tests: %v\n", err)
		return 1
	}
	var left []string
	if !testkit.Holds(func() bool { left = ownSockets(); return len(left) == 0 }) {
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
func Sockets() []string { return leak.Descriptors("socket:") }

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
	if err := leak.Goroutines(append(immortals(), b.goroutines)...); err != nil {
		t.Errorf("goroutines left: %v", err)
	}
	testkit.Eventually(t, fmt.Sprintf("at most %d sockets", b.sockets), func() bool { return len(Sockets()) <= b.sockets })
}
