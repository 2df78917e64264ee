package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// display says how progress is shown.
type display struct {
	every time.Duration
	begin string // before each count
	end   string // after each count
	after string // once, at the end
}

// displayOn returns the display that suits out: one line that is overwritten on a terminal, and a
// new line each second elsewhere, where carriage returns would join the lines.
func displayOn(out io.Writer) display {
	if isTerminal(out) {
		return display{every: time.Second / 10, begin: "\r", after: "\r"}
	}
	return display{every: time.Second, end: "\n"}
}

// isTerminal reports whether out is a terminal. The null device counts as one.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// progress prints how many calls there were, until ctx is done.
func progress(ctx context.Context, calls *atomic.Int64, out io.Writer, d display) {
	ticker := time.NewTicker(d.every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			fmt.Fprintf(out, "%s%s calls%s", d.begin, thousands(calls.Load()), d.end)
		case <-ctx.Done():
			fmt.Fprint(out, d.after)
			return
		}
	}
}

// thousands writes n in groups of three digits.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// rounded returns d with three digits, or to the second.
func rounded(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d/unit >= 1000 && unit < time.Second {
		unit *= 10
	}
	return d.Round(unit)
}
