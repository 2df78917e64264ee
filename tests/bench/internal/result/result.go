// Package result holds the results of a run of the benchmarks: its cells, the figures of each
// round, and where and with what it was measured. It is the content of the JSON file.
package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Figure names one number that a round measured.
type Figure string

// The figures of a load. Those of a client are absent where all variants share one.
const (
	Calls            Figure = "calls/s"
	P50              Figure = "p50"  // µs, as are the next three
	P99              Figure = "p99"  // of every call of the round
	P999             Figure = "p999" // 99.9 %
	Max              Figure = "max"
	CPU              Figure = "cpu" // µs of user and system time per call, all but a generator's
	ServerCPU        Figure = "cpu server"
	ClientCPU        Figure = "cpu client"
	ServerAllocs     Figure = "allocs server" // heap allocations per call
	ClientAllocs     Figure = "allocs client"
	ServerBytes      Figure = "bytes server" // heap bytes allocated per call
	ClientBytes      Figure = "bytes client"
	ServerGoroutines Figure = "goroutines server"
	ClientGoroutines Figure = "goroutines client"
	ServerResident   Figure = "resident server" // MiB of resident memory
	ClientResident   Figure = "resident client"
	ServerSwitches   Figure = "switches server" // context switches per call
	ClientSwitches   Figure = "switches client"
	Connections      Figure = "connections"
	Errors           Figure = "errors"
)

// The figures of a chain: a generator calls a front service, which calls a back service. What the
// server and the client are in other loads, front and generator are here.
const (
	BackCPU      Figure = "cpu back"
	BackSwitches Figure = "switches back"
	Late         Figure = "late" // µs: the 99th percentile of how late the generator was
	Void         Figure = "void" // rounds that were repeated because it was too late
)

// The figures of idle connections.
const (
	IdleHeap       Figure = "heap/conn"     // bytes of heap and stacks per connection, collected
	IdleResident   Figure = "resident/conn" // bytes of resident memory per connection
	IdleGoroutines Figure = "goroutines/conn"
	IdleTotal      Figure = "goroutines" // of the whole server
)

// Direction says in which direction a figure is better.
type Direction int8

// The directions.
const (
	Neither Direction = iota // the figure describes, and is not judged
	Lower
	Higher
)

// Better returns the direction in which f is better.
func (f Figure) Better() Direction {
	switch f {
	case Calls:
		return Higher
	case Connections, Errors, ServerGoroutines, ClientGoroutines, IdleTotal, Late, Void:
		return Neither
	}
	return Lower
}

// Round has the figures of one round in a cell. A figure that does not apply is absent.
type Round map[Figure]float64

// Key names a cell: the variant and its load. Two runs' cells with equal keys can be compared.
type Key struct {
	Set     string        `json:"set"`
	Variant string        `json:"variant"`
	Callers int           `json:"callers"`           // concurrent callers or connections
	Size    int           `json:"size"`              // bytes of a request's or reply's payload
	Share   int           `json:"share,omitempty"`   // open loop: rate in percent of the baseline
	Burn    time.Duration `json:"burn,omitempty"`    // CPU time that the handler takes
	Timeout time.Duration `json:"timeout,omitempty"` // WithRPCTimeout, or a deadline
	CPUs    string        `json:"cpus,omitempty"`    // how processes are pinned; empty: not
	Via     string        `json:"via,omitempty"`     // chain: the generator's client; empty: the variant's
}

// Load is the key without the variant: the load of all variants in a group.
func (k Key) Load() Key {
	k.Variant = ""
	return k
}

// Cell has all rounds of one variant under one load.
type Cell struct {
	Key
	Rounds    []Round `json:"rounds"`
	Disturbed int     `json:"disturbed,omitempty"` // rounds kept although always disturbed

	// Kernel is how many system calls a process makes per call, by process and name; from a round
	// of its own, which is not among Rounds. Nil if they were not counted.
	Kernel map[string]map[string]float64 `json:"kernel,omitempty"`
}

// Median returns the median over the rounds of f. It reports false if no round has f.
func (c Cell) Median(f Figure) (float64, bool) {
	values := c.Values(f)
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle], true
	}
	return (values[middle-1] + values[middle]) / 2, true
}

// Values returns f of every round that has it, in the order of the rounds.
func (c Cell) Values(f Figure) []float64 {
	var values []float64
	for _, round := range c.Rounds {
		if v, ok := round[f]; ok {
			values = append(values, v)
		}
	}
	return values
}

// Machine is where a run took place.
type Machine struct {
	CPU         string `json:"cpu"`  // the processor's model
	CPUs        int    `json:"cpus"` // usable by the run
	MemoryBytes int64  `json:"memoryBytes"`
	Kernel      string `json:"kernel"`
	OS          string `json:"os"`
	Arch        string `json:"arch"`
}

// Settings are the settings of a run.
type Settings struct {
	Rounds   int           `json:"rounds"`
	Duration time.Duration `json:"duration"` // of one measurement
	Baseline string        `json:"baseline"` // the variant that ratios refer to, if a group has it
	Rate     float64       `json:"rate"`     // calls/s that an open loop's shares refer to, or 0
	Chain    float64       `json:"chain"`    // the same for those of a chain
}

// Run is a whole run.
type Run struct {
	Started  time.Time         `json:"started"`
	Took     time.Duration     `json:"took"`
	Go       string            `json:"go"`
	Build    string            `json:"build,omitempty"` // the revision, stamped by the go command
	Modules  map[string]string `json:"modules"`         // versions of the measured modules, by path
	Machine  Machine           `json:"machine"`
	Settings Settings          `json:"settings"`
	Cells    []Cell            `json:"cells"` // in the order of the plan
}

// Cell returns the cell with key k.
func (r *Run) Cell(k Key) (Cell, bool) {
	for _, c := range r.Cells {
		if c.Key == k {
			return c, true
		}
	}
	return Cell{}, false
}

// Baseline returns the cell that the others under the same load are compared with: the baseline's
// own, or otherwise the first of that load.
func (r *Run) Baseline(load Key) (Cell, bool) {
	own := load
	own.Variant = r.Settings.Baseline
	if c, ok := r.Cell(own); ok {
		return c, true
	}
	for _, c := range r.Cells {
		if c.Load() == load {
			return c, true
		}
	}
	return Cell{}, false
}

// Read reads a run that Write wrote.
func Read(path string) (*Run, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	run := new(Run)
	if err := json.Unmarshal(data, run); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(run.Cells) == 0 {
		return nil, &fs.PathError{Op: "read results", Path: path, Err: errors.New("no cells in it")}
	}
	return run, nil
}

// Write writes the run as JSON.
func (r *Run) Write(path string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
