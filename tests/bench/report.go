//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// result is one measurement.
type result struct {
	calls      float64 // per second
	p50        float64 // µs
	p99        float64 // µs
	p999       float64 // µs
	serverCPU  float64 // µs per call
	clientCPU  float64 // µs per call; 0 where the client is shared
	serverMem  float64 // allocations per call
	clientMem  float64 // allocations per call
	goroutines float64 // of the server
}

// usageBetween returns what was used between two readings.
func usageBetween(before, after usage) usage {
	after.CPUMicros -= before.CPUMicros
	after.Mallocs -= before.Mallocs
	after.MallocedB -= before.MallocedB
	return after
}

func newResult(latencies *hdrhistogram.Histogram, elapsed time.Duration, server, client usage) result {
	calls := float64(latencies.TotalCount())
	quantile := func(q float64) float64 { return float64(latencies.ValueAtQuantile(q)) / 1e3 }
	return result{
		calls:      calls / elapsed.Seconds(),
		p50:        quantile(50),
		p99:        quantile(99),
		p999:       quantile(99.9),
		serverCPU:  float64(server.CPUMicros) / calls,
		clientCPU:  float64(client.CPUMicros) / calls,
		serverMem:  float64(server.Mallocs) / calls,
		clientMem:  float64(client.Mallocs) / calls,
		goroutines: float64(server.Goroutines),
	}
}

// rowKey names a line of a table.
type rowKey struct {
	callers int
	variant string
}

// table collects results in the order of their first measurement.
type table struct {
	title string
	keys  []rowKey
	rows  map[rowKey][]result
}

func newTable(title string) *table { return &table{title: title, rows: make(map[rowKey][]result)} }

func (t *table) add(variant string, callers int, r result) {
	k := rowKey{callers, variant}
	if _, ok := t.rows[k]; !ok {
		t.keys = append(t.keys, k)
	}
	t.rows[k] = append(t.rows[k], r)
}

// median returns the median over a row's rounds of what of picks.
func median(rounds []result, of func(result) float64) float64 {
	var values []float64
	for _, r := range rounds {
		values = append(values, of(r))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// print writes the medians, per number of callers.
func (t *table) print(w io.Writer) {
	slices.SortStableFunc(t.keys, func(a, b rowKey) int { return a.callers - b.callers })
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "%s\tcallers\tcalls/s\tp50 µs\tp99 µs\tp99.9 µs\tCPU µs\tserver\tclient\tallocs server\tclient\tgoroutines\t\n", t.title)
	for i, k := range t.keys {
		if i > 0 && t.keys[i-1].callers != k.callers {
			fmt.Fprintln(tw, "\t\t\t\t\t\t\t\t\t\t\t\t")
		}
		m := func(of func(result) float64) float64 { return median(t.rows[k], of) }
		fmt.Fprintf(tw, "%s\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%.0f\t\n", k.variant, k.callers,
			m(func(r result) float64 { return r.calls }),
			m(func(r result) float64 { return r.p50 }),
			m(func(r result) float64 { return r.p99 }),
			m(func(r result) float64 { return r.p999 }),
			m(func(r result) float64 { return r.serverCPU + r.clientCPU }),
			m(func(r result) float64 { return r.serverCPU }),
			m(func(r result) float64 { return r.clientCPU }),
			m(func(r result) float64 { return r.serverMem }),
			m(func(r result) float64 { return r.clientMem }),
			m(func(r result) float64 { return r.goroutines }))
	}
	_ = tw.Flush() // the terminal's or a file's: nothing to do about it
}
