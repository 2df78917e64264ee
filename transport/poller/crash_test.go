package poller

import (
	"flag"
	"strings"
	"testing"

	"github.com/kiteline/kiteline/internal/testsystem"
)

// crash makes TestPanicInOnReady the process that panics.
var crash = flag.Bool("crash", false, "panic in OnReady (used by TestPanicInOnReady itself)")

// TestPanicInOnReady checks that a target's panic ends the process instead of being swallowed.
func TestPanicInOnReady(t *testing.T) {
	if *crash {
		p, kernel := openFake(Config{})
		token := mustAdd(t, p, targetFunc(func(Readiness) { panic("target's own") }))
		mustArm(t, p, 3, token, InterestRead)
		kernel.post(event{token, Readable})
		<-p.done // never
	}
	cmd, err := testsystem.Command(t.Context(), "-test.run=^TestPanicInOnReady$", "-crash")
	if err != nil {
		t.Skipf("cannot run a second process: %v", err)
	}
	output, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "panic: target's own") {
		t.Errorf("got %v, output %q, want a panic", err, output)
	}
}
