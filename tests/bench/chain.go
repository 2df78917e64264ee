//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kiteline/kiteline/tests/bench/internal/proc"
	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// This file is the set chain: a generator calls a front service, which calls a back service for
// each call. What counts is what the front takes, and how long the whole took from when it was due.

const (
	// lateAtLeast and lateShare are how late a generator may be, at its 99th percentile: the larger
	// of the two, lateShare being of the measured 99th percentile. A round with a later one says
	// more about the generator than about the services, and is void.
	lateAtLeast = 100 // µs
	lateShare   = 0.1

	// maxVoid is how often a void round is repeated. The last one counts.
	maxVoid = 4
)

// chain is the two services and the generator, in one process each. The pair's server is the front,
// and its client the generator.
type chain struct {
	back *proc.Child
	pair
}

// startChain starts the three processes.
func (m *measurer) startChain(ctx context.Context, key result.Key) (*chain, error) {
	name := fmt.Sprintf("%s-%s-%d-%d", key.Set, key.Variant, key.Callers, key.Share)
	c := new(chain)
	var addr string
	var err error
	back := serverArgs{Variant: key.Variant, Profile: m.profile(name + "-back")}
	c.back, err = proc.Start(ctx, proc.Spec{Role: roleServer, Args: back, Name: "back"}, &addr)
	if err != nil {
		return nil, err
	}
	front := serverArgs{Variant: key.Variant, Back: addr, Callers: key.Callers, Profile: m.profile(name + "-front")}
	c.server, err = proc.Start(ctx, proc.Spec{Role: roleServer, Args: front, Name: "front"}, &addr)
	if err != nil {
		c.stop()
		return nil, err
	}
	generator := clientArgs{
		Load: kindRPC, Variant: key.Variant, Addr: addr, Callers: key.Callers, Size: key.Size,
		Duration: m.opt.duration, Rate: m.chainRate * float64(key.Share) / 100, Profile: m.profile(name + "-generator"),
	}
	if key.Via != "" {
		generator.Variant = key.Via
	}
	c.client, err = proc.Start(ctx, proc.Spec{Role: roleClient, Args: generator, Name: "generator", OnTime: true}, nil)
	if err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// stop ends the processes, the generator first.
func (c *chain) stop() {
	if c.server != nil {
		c.pair.stop()
	}
	c.back.Stop()
}

// measureChain measures a chain, again if its generator was late.
func (m *measurer) measureChain(ctx context.Context, key result.Key) (outcome, error) {
	for void := 0; ; void++ {
		got, err := m.measureChainOnce(ctx, key)
		if err != nil {
			return outcome{}, err
		}
		got.figures[result.Void] = float64(void)
		if void == maxVoid || got.figures[result.Late] <= max(lateAtLeast, lateShare*got.figures[result.P99]) {
			return got, nil
		}
	}
}

func (m *measurer) measureChainOnce(ctx context.Context, key result.Key) (outcome, error) {
	c, err := m.startChain(ctx, key)
	if err != nil {
		return outcome{}, err
	}
	defer c.stop()
	if err := c.ask(ctx, "warm-up", nil); err != nil {
		return outcome{}, err
	}
	counts, err := m.countCalls(ctx, map[string]*proc.Child{"back": c.back, "front": c.server, "generator": c.client})
	if err != nil {
		return outcome{}, err
	}
	before, err := c.used(ctx)
	if err != nil {
		return outcome{}, err
	}
	var report loadReport
	watch := watchMachine()
	if err := c.ask(ctx, "run", &report); err != nil {
		return outcome{}, err
	}
	after, err := c.used(ctx)
	if err != nil {
		return outcome{}, err
	}
	if report.Calls == 0 {
		return outcome{}, errors.New("not a single call ended in time")
	}
	front, back := after.front.Since(before.front), after.back.Since(before.back)
	figures, calls := c.figures(report, front), float64(report.Calls)
	figures[result.CPU] = micros(front.CPU+back.CPU) / calls
	figures[result.BackCPU] = micros(back.CPU) / calls
	figures[result.BackSwitches] = float64(back.Switches) / calls
	figures[result.Late] = report.Late
	disturbed := watch.others(front.CPU + back.CPU + report.Used.CPU)
	kernel, err := counts.perCall(report.Calls)
	return outcome{figures: figures, disturbed: disturbed, kernel: kernel}, err
}

// services is what the two services have used.
type services struct{ front, back proc.Usage }

func (c *chain) used(ctx context.Context) (u services, err error) {
	err = errors.Join(c.server.Ask(ctx, "usage", &u.front), c.back.Ask(ctx, "usage", &u.back))
	return u, err
}

// timeOf is how long a measurement may take, with all its repetitions.
func (m *measurer) timeOf(of kind) time.Duration {
	if of == kindChain {
		return (1 + maxVoid) * (10*m.opt.duration + answerTime)
	}
	return 10*m.opt.duration + answerTime
}
