//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/kiteline/kiteline/tests/bench/internal/load"
	"github.com/kiteline/kiteline/tests/bench/internal/proc"
	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// measurer makes single measurements.
type measurer struct {
	opt  *options
	cpus []int     // the processors of the run
	work load.Work // the work for opt.burn
	rate float64   // the rate that an open loop's shares refer to

	chainRate float64 // the same for the shares of a chain
	kernel    bool    // system calls are counted
}

// answerTime is how long a child may take beyond the requested time.
const answerTime = 30 * time.Second

// pair is a server and a client, in one process each.
type pair struct {
	server *proc.Child
	client *proc.Child
	fresh  proc.Usage // the server's before the client connected
}

// startPair starts both processes.
func (m *measurer) startPair(ctx context.Context, of kind, key result.Key) (*pair, error) {
	name := fmt.Sprintf("%s-%s-%d-%d%s", key.Set, key.Variant, key.Callers, key.Size, key.CPUs)
	server := serverArgs{
		Plain:   of == kindPlain || of == kindIdlePlain,
		Variant: key.Variant,
		Size:    key.Size,
		Profile: m.profile(name + "-server"),
	}
	if key.Burn > 0 {
		server.Work = m.work
	}
	serverCPUs, clientCPUs := m.placement(key.CPUs)
	var addr string
	p := new(pair)
	var err error
	p.server, err = proc.Start(ctx, proc.Spec{Role: roleServer, Args: server, CPUs: serverCPUs, Name: "server"}, &addr)
	if err != nil {
		return nil, err
	}
	if err := p.server.Ask(ctx, "collect", &p.fresh); err != nil {
		p.stop()
		return nil, err
	}
	client := clientArgs{
		Load:     of,
		Variant:  key.Variant,
		Addr:     addr,
		Callers:  key.Callers,
		Size:     key.Size,
		Timeout:  key.Timeout,
		Duration: m.opt.duration,
		Rate:     m.rate * float64(key.Share) / 100,
		Profile:  m.profile(name + "-client"),
	}
	p.client, err = proc.Start(ctx, proc.Spec{Role: roleClient, Args: client, CPUs: clientCPUs, Name: "client"}, nil)
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// profile returns the file for a child's CPU profile, or an empty name for none.
func (m *measurer) profile(name string) string {
	if m.opt.profile == "" {
		return ""
	}
	return filepath.Join(m.opt.profile, strings.ReplaceAll(name, "/", "_")+".pprof")
}

// placement returns the processors for the server and the client, or none for all.
func (m *measurer) placement(cpus string) (server, client []int) {
	switch cpus {
	case oneCPU:
		return m.cpus[:1], m.cpus[:1]
	case twoCPUs:
		return m.cpus[:1], m.cpus[1:2]
	}
	return nil, nil
}

// stop ends both processes, the client first.
func (p *pair) stop() {
	if p.client != nil {
		p.client.Stop()
	}
	p.server.Stop()
}

// ask sends the client a command. If that fails and the server has ended, the error says so,
// because that is the cause.
func (p *pair) ask(ctx context.Context, command string, out any) error {
	err := p.client.Ask(ctx, command, out)
	if err == nil || context.Cause(ctx) != nil {
		return err
	}
	return errors.Join(p.server.Ask(ctx, "usage", nil), err)
}

// outcome is the result of one round of a cell.
type outcome struct {
	figures   result.Round
	disturbed float64                       // share of the machine's time that other processes took
	kernel    map[string]map[string]float64 // result.Cell.Kernel, if that was counted
}

// measure makes one measurement.
func (m *measurer) measure(ctx context.Context, of kind, key result.Key) (outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.timeOf(of),
		errors.New("the processes took too long to answer"))
	defer cancel()
	if of == kindChain {
		return m.measureChain(ctx, key)
	}
	p, err := m.startPair(ctx, of, key)
	if err != nil {
		return outcome{}, err
	}
	defer p.stop()
	if of == kindIdleRPC || of == kindIdlePlain {
		return p.measureIdle(ctx, key)
	}
	return m.measureLoad(ctx, p)
}

func (m *measurer) measureLoad(ctx context.Context, p *pair) (outcome, error) {
	if err := p.ask(ctx, "warm-up", nil); err != nil {
		return outcome{}, err
	}
	counts, err := m.countCalls(ctx, map[string]*proc.Child{"server": p.server, "client": p.client})
	if err != nil {
		return outcome{}, err
	}
	var before, after proc.Usage
	if err := p.server.Ask(ctx, "usage", &before); err != nil {
		return outcome{}, err
	}
	var report loadReport
	watch := watchMachine()
	if err := p.ask(ctx, "run", &report); err != nil {
		return outcome{}, err
	}
	if err := p.server.Ask(ctx, "usage", &after); err != nil {
		return outcome{}, err
	}
	if report.Calls == 0 {
		return outcome{}, errors.New("not a single call ended in time")
	}
	server := after.Since(before)
	disturbed := watch.others(server.CPU + report.Used.CPU)
	kernel, err := counts.perCall(report.Calls)
	return outcome{figures: p.figures(report, server), disturbed: disturbed, kernel: kernel}, err
}

// figures returns the figures of a load. A client of plain servers is the same for all of them, and
// is left out.
func (p *pair) figures(report loadReport, server proc.Usage) result.Round {
	calls := float64(report.Calls)
	round := result.Round{
		result.Calls:            calls / report.Elapsed.Seconds(),
		result.P50:              report.P50,
		result.P99:              report.P99,
		result.P999:             report.P999,
		result.Max:              report.Max,
		result.ServerCPU:        micros(server.CPU) / calls,
		result.ClientCPU:        micros(report.Used.CPU) / calls,
		result.CPU:              micros(server.CPU+report.Used.CPU) / calls,
		result.ServerAllocs:     float64(server.Mallocs) / calls,
		result.ClientAllocs:     float64(report.Used.Mallocs) / calls,
		result.ServerBytes:      float64(server.AllocatedBytes) / calls,
		result.ClientBytes:      float64(report.Used.AllocatedBytes) / calls,
		result.ServerGoroutines: float64(server.Goroutines),
		result.ClientGoroutines: float64(report.Used.Goroutines),
		result.ServerSwitches:   float64(server.Switches) / calls,
		result.ClientSwitches:   float64(report.Used.Switches) / calls,
		result.ServerResident:   mebibytes(server.ResidentBytes),
		result.ClientResident:   mebibytes(report.Used.ResidentBytes),
		result.Connections:      float64(server.Sockets - p.fresh.Sockets),
		result.Errors:           0, // an error would have ended the run
	}
	return round
}

// withoutClient removes the figures that say nothing about a variant because all variants share one
// client.
func withoutClient(round result.Round) {
	round[result.CPU] = round[result.ServerCPU]
	for _, f := range []result.Figure{
		result.ClientCPU, result.ClientAllocs, result.ClientBytes, result.ClientGoroutines, result.ClientResident,
		result.ClientSwitches,
	} {
		delete(round, f)
	}
}

// measureIdle lets each connection answer one message and then do nothing.
func (p *pair) measureIdle(ctx context.Context, key result.Key) (outcome, error) {
	var before proc.Usage // with open connections, before any message
	if err := p.server.Ask(ctx, "usage", &before); err != nil {
		return outcome{}, err
	}
	watch := watchMachine()
	var report loadReport
	if err := p.ask(ctx, "once", &report); err != nil {
		return outcome{}, err
	}
	var held proc.Usage
	if err := p.server.Ask(ctx, "collect", &held); err != nil {
		return outcome{}, err
	}
	each := func(n float64) float64 { return n / float64(key.Callers) }
	return outcome{
		figures: result.Round{
			result.IdleHeap:       each(float64(held.HeapBytes - p.fresh.HeapBytes)),
			result.IdleResident:   each(float64(held.ResidentBytes - p.fresh.ResidentBytes)),
			result.IdleGoroutines: each(float64(held.Goroutines - p.fresh.Goroutines)),
			result.IdleTotal:      float64(held.Goroutines),
		},
		disturbed: watch.others(held.Since(before).CPU + report.Used.CPU),
	}, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// machineWatch compares the machine's work with that of a measurement.
type machineWatch struct {
	began time.Time
	busy  time.Duration
	own   time.Duration
	known bool
}

func watchMachine() machineWatch {
	busy, known := proc.BusyTime()
	return machineWatch{began: time.Now(), busy: busy, own: proc.OwnUsage().CPU, known: known}
}

// others returns the share of the machine's time since the watch began that neither this process
// nor the children used. It is 0 if the system does not tell.
func (w machineWatch) others(children time.Duration) float64 {
	busy, known := proc.BusyTime()
	if !known || !w.known {
		return 0
	}
	capacity := time.Since(w.began) * time.Duration(runtime.NumCPU())
	others := busy - w.busy - children - (proc.OwnUsage().CPU - w.own)
	return max(0, float64(others)/float64(capacity))
}
