package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

var (
	rpcVariants   = []string{"kiteline", "kiteline-mux", "kitex", "netpollmux-1", "netpollmux-2", "gonet", "kitex-grpc", "grpc-go"}
	plainVariants = []string{"kiteline", "netpoll", "gnet", "gonet"}
)

// costs are the variants' CPU times per call in the sample, in µs.
var costs = map[string]float64{
	"kiteline": 14, "kiteline-mux": 11, "kitex": 18, "netpollmux-1": 19, "netpollmux-2": 21, "gonet": 20,
	"kitex-grpc": 48, "grpc-go": 41, "netpoll": 9, "gnet": 8,
}

// sample returns a run with all sets and plausible invented numbers.
func sample() *result.Run {
	run := &result.Run{
		Started: time.Date(2026, 11, 19, 14, 5, 0, 0, time.UTC),
		Took:    47*time.Minute + 12*time.Second,
		Go:      "go1.26.3",
		Build:   "v0.1.0 (0123456789ab)",
		Modules: map[string]string{
			"github.com/cloudwego/kitex": "v0.16.3", "github.com/cloudwego/netpoll": "v0.7.2",
			"google.golang.org/grpc": "v1.80.0", "github.com/panjf2000/gnet/v2": "v2.10.0",
		},
		Machine: result.Machine{CPU: "Example CPU @ 2.70GHz", CPUs: 2, MemoryBytes: 8 << 30,
			Kernel: "6.1.0-23-amd64", OS: "linux", Arch: "amd64"},
		Settings: result.Settings{Rounds: 3, Duration: 5 * time.Second, Baseline: "kitex", Rate: 51234},
	}
	random := rand.New(rand.NewPCG(1, 2))
	add := func(variants []string, key result.Key) {
		for _, v := range variants {
			key.Variant = v
			run.Cells = append(run.Cells, sampleCell(key, random))
		}
	}
	for _, callers := range []int{1, 10, 100, 1000} {
		add(rpcVariants, result.Key{Set: "calls", Callers: callers, Size: 1024})
	}
	for _, size := range []int{64, 16 << 10, 1 << 20} {
		add(rpcVariants, result.Key{Set: "payload", Callers: 16, Size: size})
	}
	add(rpcVariants, result.Key{Set: "work", Callers: 100, Size: 1024, Burn: 50 * time.Microsecond})
	add(rpcVariants, result.Key{Set: "timeout", Callers: 100, Size: 1024, Timeout: time.Second})
	for _, share := range []int{20, 50} {
		add(rpcVariants, result.Key{Set: "open", Callers: 100, Size: 1024, Share: share})
	}
	for _, cpus := range []string{"one CPU each", "two CPUs"} {
		add(rpcVariants, result.Key{Set: "pinned", Callers: 100, Size: 1024, CPUs: cpus})
	}
	for _, callers := range []int{1, 10, 100, 1000} {
		add(plainVariants, result.Key{Set: "plain", Callers: callers, Size: 1024})
	}
	for _, size := range []int{64, 16 << 10, 1 << 20} {
		add(plainVariants, result.Key{Set: "plain-payload", Callers: 16, Size: size})
	}
	for _, v := range plainVariants {
		cell := result.Cell{Key: result.Key{Set: "idle", Variant: v, Callers: 16000}}
		for range 3 {
			heap := 1000 * (1 + costs[v]/30*random.Float64())
			goroutines := 0.0
			if v == "gonet" {
				heap, goroutines = 9200, 1
			}
			cell.Rounds = append(cell.Rounds, result.Round{result.IdleHeap: heap, result.IdleResident: heap * 1.6,
				result.IdleGoroutines: goroutines, result.IdleTotal: 16000*goroutines + 9})
		}
		run.Cells = append(run.Cells, cell)
	}
	run.Cells[3].Disturbed = 1
	return run
}

func sampleCell(key result.Key, random *rand.Rand) result.Cell {
	cell := result.Cell{Key: key}
	plain := slices.Contains([]string{"plain", "plain-payload"}, key.Set)
	for range 3 {
		vary := func(v float64) float64 { return v * math.Exp(0.03*random.NormFloat64()) }
		cost := costs[key.Variant]*(1+1.5/math.Sqrt(float64(key.Callers))) + float64(key.Size)/900 + float64(key.Burn.Microseconds())
		calls := vary(2e6 / cost * min(1, 0.5+float64(key.Callers)/20))
		if key.Share > 0 {
			calls = 51234 * float64(key.Share) / 100
		}
		p50 := vary(float64(key.Callers) / calls * 1e6)
		round := result.Round{
			result.Calls: calls, result.P50: p50, result.P99: vary(p50 * 2.6), result.P999: vary(p50 * 6), result.Max: vary(p50 * 30),
			result.ServerCPU: vary(cost * 0.55), result.ServerAllocs: 7, result.ServerBytes: vary(1900 + float64(key.Size)),
			result.ServerGoroutines: float64(key.Callers) + 12, result.ServerResident: vary(30 + float64(key.Callers)/20),
			result.Connections: float64(key.Callers), result.Errors: 0,
		}
		if !plain {
			round[result.ClientCPU] = vary(cost * 0.45)
			round[result.CPU] = round[result.ClientCPU] + round[result.ServerCPU]
			round[result.ClientAllocs] = 9
			round[result.ClientBytes] = vary(2100 + float64(key.Size))
			round[result.ClientGoroutines] = float64(key.Callers)*2 + 10
			round[result.ClientResident] = vary(34 + float64(key.Callers)/15)
		}
		cell.Rounds = append(cell.Rounds, round)
	}
	return cell
}
