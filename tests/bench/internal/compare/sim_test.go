package compare_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// noise says how a simulated run differs from the truth: standard deviations of logarithms, which
// are fractions as long as they are small.
type noise struct {
	run    float64 // of a whole run: another day
	round  float64 // of all variants of a round: a neighbour on the machine
	cell   float64 // of a variant under one load in a whole run
	spread float64 // of a single measurement, times the weights below
}

var weights = map[result.Figure]float64{
	result.P99: 3, result.P999: 6, result.ServerResident: 2, result.ServerAllocs: 0.02,
}

var (
	rpcVariants   = []string{"kiteline", "kitex", "netpollmux-1", "netpollmux-2", "gonet", "kitex-grpc", "grpc-go"}
	plainVariants = []string{"kiteline", "netpoll", "gnet", "gonet"}
)

// machine simulates runs.
type machine struct {
	random *rand.Rand
	noise  noise
	rounds int
	// factor multiplies the usual figures of a variant; nil: no change.
	factor func(variant string, f result.Figure) float64
}

func newMachine(seed uint64, n noise) *machine {
	return &machine{random: rand.New(rand.NewPCG(seed, 99)), noise: n, rounds: 3}
}

// changed returns m with a figure of a variant changed.
func (m *machine) changed(variant string, figure result.Figure, factor float64) *machine {
	other := *m
	other.factor = func(v string, f result.Figure) float64 {
		if v == variant && f == figure {
			return factor
		}
		return 1
	}
	return &other
}

func (m *machine) run() *result.Run {
	run := &result.Run{
		Go: "go1.26", Modules: map[string]string{"github.com/cloudwego/kitex": "v0.16.3"},
		Settings: result.Settings{Rounds: m.rounds, Duration: time.Second, Baseline: "kitex"},
	}
	speed := m.stray(m.noise.run)
	for _, callers := range []int{1, 10, 100, 1000} {
		m.add(run, result.Key{Set: "calls", Callers: callers, Size: 1024}, rpcVariants, speed)
	}
	for _, callers := range []int{10, 100} {
		m.add(run, result.Key{Set: "plain", Callers: callers, Size: 1024}, plainVariants, speed)
	}
	return run
}

func (m *machine) add(run *result.Run, load result.Key, variants []string, speed float64) {
	slowness := make([]float64, m.rounds)
	for i := range slowness {
		slowness[i] = speed * m.stray(m.noise.round)
	}
	for i, v := range variants {
		cell := result.Cell{Key: load}
		cell.Variant = v
		luck := make(map[result.Figure]float64)
		for _, slow := range slowness {
			cost := 20 + 3*float64(i)
			round := result.Round{
				result.Calls:          1e6 / cost / slow,
				result.P50:            cost * float64(load.Callers) * slow,
				result.P99:            3 * cost * float64(load.Callers) * slow,
				result.P999:           8 * cost * float64(load.Callers) * slow,
				result.Max:            40 * cost * float64(load.Callers) * slow,
				result.ServerCPU:      cost * slow,
				result.ServerAllocs:   7,
				result.ServerResident: 40,
				result.Errors:         0,
			}
			if load.Set != "plain" {
				round[result.CPU] = 2 * cost * slow
			}
			for _, f := range slices.Sorted(maps.Keys(round)) { // sorted: a seed means one run
				weight, ok := weights[f]
				if !ok {
					weight = 1
				}
				if _, ok := luck[f]; !ok {
					luck[f] = m.stray(m.noise.cell * weight)
				}
				round[f] *= luck[f] * m.stray(m.noise.spread*weight)
				if m.factor != nil {
					round[f] *= m.factor(v, f)
				}
			}
			cell.Rounds = append(cell.Rounds, round)
		}
		run.Cells = append(run.Cells, cell)
	}
}

// stray returns a factor around 1.
func (m *machine) stray(deviation float64) float64 {
	return math.Exp(deviation * m.random.NormFloat64())
}
