package harness

import (
	"strings"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/pkg/klog"
)

// logLines is where Kitex's logger writes once Main runs. Kitex has one logger per process.
var logLines lineRecorder

// lineRecorder keeps what is written to it, one line or more at a time.
type lineRecorder struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

// Write implements io.Writer.
func (r *lineRecorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, string(p))
	return len(p), nil
}

func (r *lineRecorder) since(mark int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines[min(mark, len(r.lines)):]...)
}

// Logs is what Kitex's logger wrote since NewLogs. Tests that use it do not run in parallel.
type Logs struct{ mark int }

// NewLogs starts recording. If the test fails, the recorded lines are shown.
func NewLogs(t testing.TB) *Logs {
	logs := &Logs{mark: len(logLines.since(0))}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logged:\n%s", strings.Join(logs.Matching(""), ""))
		}
	})
	return logs
}

// Matching returns the entries that contain part.
func (l *Logs) Matching(part string) []string {
	var found []string
	for _, line := range logLines.since(l.mark) {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return found
}

// Check fails the test for a panic, and for more of Kiteline's lines than one of each class a
// second. Kitex's own handler logs each failed request; this test does not limit that.
func (l *Logs) Check(t testing.TB) {
	t.Helper()
	if panics := l.Matching("panic"); len(panics) > 0 {
		t.Errorf("got %d panics logged, want none: %s", len(panics), panics[0])
	}
	const classes, seconds = 2, 3
	if lines := l.Matching("KITELINE"); len(lines) > classes*seconds {
		t.Errorf("got %d log lines of Kiteline's, want at most %d: %s", len(lines), classes*seconds, lines[0])
	}
}

func recordLogs() {
	klog.SetLevel(klog.LevelWarn)
	klog.SetOutput(&logLines)
}
