package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// missing stands for a number that was not measured or does not exist.
const missing = "–"

// column is a figure and the heading of its column.
type column struct {
	figure result.Figure
	name   string
	side   string // server or client, if both have the figure
	unit   string
}

// head is the column's heading on one line.
func (c column) head() string {
	head := strings.TrimSpace(c.side + " " + c.name)
	if strings.HasPrefix(c.unit, "/") {
		return head + c.unit
	}
	return strings.TrimSpace(head + " " + c.unit)
}

// The columns, in two parts because one table of all of them is wider than a terminal.
var (
	speedColumns = []column{
		{result.Calls, "calls", "", "/s"},
		{result.P50, "p50", "", "µs"},
		{result.P99, "p99", "", "µs"},
		{result.P999, "p99.9", "", "µs"},
		{result.Max, "max", "", "µs"},
		{result.CPU, "CPU", "", "µs/call"},
		{result.ServerCPU, "CPU", "server", "µs/call"},
		{result.BackCPU, "CPU", "back", "µs/call"},
		{result.ClientCPU, "CPU", "client", "µs/call"},
		{result.IdleHeap, "heap", "", "B/conn"},
		{result.IdleResident, "resident", "", "B/conn"},
		{result.IdleGoroutines, "goroutines", "", "/conn"},
		{result.IdleTotal, "goroutines", "", "in all"},
	}
	costColumns = []column{
		{result.ServerAllocs, "allocs", "server", "/call"},
		{result.ClientAllocs, "allocs", "client", "/call"},
		{result.ServerBytes, "bytes", "server", "/call"},
		{result.ClientBytes, "bytes", "client", "/call"},
		{result.ServerSwitches, "switches", "server", "/call"},
		{result.BackSwitches, "switches", "back", "/call"},
		{result.ClientSwitches, "switches", "client", "/call"},
		{result.Late, "late", "client", "µs"},
		{result.Void, "void", "", "rounds"},
		{result.ServerGoroutines, "goroutines", "server", ""},
		{result.ClientGoroutines, "goroutines", "client", ""},
		{result.ServerResident, "resident", "server", "MiB"},
		{result.ClientResident, "resident", "client", "MiB"},
		{result.Connections, "conns", "", ""},
		{result.Errors, "errors", "", ""},
	}
)

// Name returns a readable name of f, with its unit. For a figure that this package does not know it
// is f itself.
func Name(f result.Figure) string {
	for _, columns := range [][]column{speedColumns, costColumns} {
		for _, c := range columns {
			if c.figure == f {
				return c.head()
			}
		}
	}
	return string(f)
}

// Number writes v with about three significant digits and its thousands grouped. A number that is
// not finite becomes a dash.
func Number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return missing
	}
	decimals := 0
	switch size := math.Abs(v); {
	case v == math.Trunc(v):
	case size < 0.1:
		decimals = 4
	case size < 10:
		decimals = 2
	case size < 100:
		decimals = 1
	}
	return message.NewPrinter(language.English).Sprintf("%.*f", decimals, v)
}

// Bytes writes a number of bytes in the largest unit that keeps it exact.
func Bytes(n int) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	unit := 0
	for n != 0 && n%1024 == 0 && unit < len(units)-1 {
		n /= 1024
		unit++
	}
	return fmt.Sprintf("%d %s", n, units[unit])
}

// Load describes the load of a group of variants in words, without the set's name.
func Load(k result.Key) string {
	var parts []string
	if k.Callers > 0 {
		who := "caller"
		if k.Set == "idle" || strings.HasPrefix(k.Set, "plain") {
			who = "connection"
		}
		if k.Callers > 1 {
			who += "s"
		}
		parts = append(parts, Number(float64(k.Callers))+" "+who)
	}
	if k.Size > 0 {
		parts = append(parts, Bytes(k.Size))
	}
	if k.Share > 0 {
		parts = append(parts, fmt.Sprintf("open loop at %d %%", k.Share))
	}
	if k.Burn > 0 {
		parts = append(parts, "handler of "+short(k.Burn))
	}
	if k.Timeout > 0 {
		parts = append(parts, "timeout "+short(k.Timeout))
	}
	if k.Via != "" {
		parts = append(parts, "front called by "+k.Via)
	}
	if k.CPUs != "" {
		parts = append(parts, "pinned: "+k.CPUs)
	}
	return strings.Join(parts, ", ")
}

// short writes d without the zero units that Duration.String ends with.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
