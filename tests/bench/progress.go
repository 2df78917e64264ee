//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// progress shows how far a run is: on a terminal in one line that changes, otherwise in a line per
// round and set.
type progress struct {
	out      io.Writer
	terminal bool
	began    time.Time
	total    int
	done     int
	repeats  int
	heading  string // the last one that was printed, if there is no terminal
}

func newProgress(out *os.File, total int) *progress {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &progress{out: out, terminal: terminal, began: time.Now(), total: total}
}

// next shows the measurement that begins.
func (p *progress) next(round, rounds int, key result.Key) {
	elapsed := time.Since(p.began)
	expected := "?"
	if p.done > 0 {
		expected = clock(elapsed * time.Duration(p.total) / time.Duration(p.done))
	}
	status := fmt.Sprintf("[%d/%d] %s of about %s, round %d of %d", p.done+1, p.total, clock(elapsed), expected, round, rounds)
	if p.repeats > 0 {
		status += fmt.Sprintf(", %d repeated", p.repeats)
	}
	p.done++
	if p.terminal {
		fmt.Fprintf(p.out, "\r\033[K%s: %s", status, describe(key))
		return
	}
	if heading := fmt.Sprint(round, key.Set); heading != p.heading {
		p.heading = heading
		fmt.Fprintf(p.out, "%s: %s\n", status, key.Set)
	}
}

// repeat shows that other processes disturbed the measurement, which is made again.
func (p *progress) repeat(share float64) {
	p.repeats++
	if p.terminal {
		fmt.Fprintf(p.out, " (others took %.0f %%, again)", 100*share)
	}
}

// end clears the line.
func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\033[K")
	}
}

// clock writes d as minutes and seconds.
func clock(d time.Duration) string {
	seconds := int(d.Seconds())
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

// describe names a cell.
func describe(key result.Key) string {
	parts := []string{key.Set, key.Variant, fmt.Sprintf("%d callers", key.Callers), fmt.Sprintf("%d bytes", key.Size)}
	if key.Share > 0 {
		parts = append(parts, fmt.Sprintf("%d %% of the rate", key.Share))
	}
	if key.Via != "" {
		parts = append(parts, "front called by "+key.Via)
	}
	if key.CPUs != anyCPUs {
		parts = append(parts, "CPUs: "+key.CPUs)
	}
	return strings.Join(parts, ", ")
}

// writeFile creates path with the output of write.
func writeFile(path string, found *result.Run, write func(w io.Writer, run *result.Run) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f, found); err != nil {
		_ = f.Close() // the file is useless anyway
		return err
	}
	return f.Close()
}
