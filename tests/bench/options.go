//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the flags of the program.
type options struct {
	sets     list
	variants list
	callers  numbers
	sizes    numbers
	shares   numbers

	chainShares numbers

	rounds    int
	duration  time.Duration
	burn      time.Duration
	timeout   time.Duration
	idle      int
	rate      float64
	chainRate float64
	baseline  string
	quick     bool
	out       string
	from      string
	compare   string
	all       bool
	kernel    bool
	profile   string
}

func defineOptions(flags *flag.FlagSet) *options {
	opt := &options{
		callers: numbers{1, 10, 100, 1000},
		sizes:   numbers{64, 16 << 10, 1 << 20},
		shares:  numbers{20, 50},

		chainShares: numbers{15, 30, 50, 60},
	}
	flags.Var(&opt.sets, "set", "what to measure, separated by commas (default all): "+strings.Join(setNames(), ", "))
	flags.Var(&opt.variants, "variants", "only these variants, and the baseline; separated by commas")
	flags.Var(&opt.callers, "callers", "concurrent callers, or connections, of the closed loops; separated by commas")
	flags.Var(&opt.sizes, "sizes", "payloads in bytes, besides 1024, which the other sets have; separated by commas")
	flags.Var(&opt.shares, "shares", "rates of the open loop, in percent of what the baseline reaches in a closed one")
	flags.Var(&opt.chainShares, "chain-shares", "rates of the set chain, in percent of what the baseline bears there")
	flags.IntVar(&opt.rounds, "rounds", 3, "rounds; each figure is their median")
	flags.DurationVar(&opt.duration, "duration", time.Second, "how long one measurement lasts, after a warm-up of a fifth of it")
	flags.DurationVar(&opt.burn, "burn", 50*time.Microsecond, "CPU time that the handler of the set work takes")
	flags.DurationVar(&opt.timeout, "timeout", time.Second, "the RPC timeout of the loads in set timeout")
	flags.IntVar(&opt.idle, "idle", 16000, "connections of the set idle")
	flags.Float64Var(&opt.rate, "rate", 0, "calls per second that -shares are of; 0 takes those of -compare, or measures what the baseline reaches")
	flags.Float64Var(&opt.chainRate, "chain-rate", 0, "the same for -chain-shares")
	flags.StringVar(&opt.baseline, "baseline", "", "variant that ratios are to (default kitex, and netpoll among plain servers)")
	flags.BoolVar(&opt.quick, "quick", false, "a selection in under a minute: calls and plain with 1 and 100 callers, 0.4 s each")
	flags.StringVar(&opt.out, "out", "", "folder to write results.json, results.html and results.md to")
	flags.StringVar(&opt.from, "from", "", "show the results in this file instead of measuring")
	flags.StringVar(&opt.compare, "compare", "", "print what changed since the results in this file")
	flags.BoolVar(&opt.all, "all", false, "with -compare, print what did not change, too")
	flags.BoolVar(&opt.kernel, "kernel", false, "count system calls, in another round, with perf where that is allowed")
	flags.StringVar(&opt.profile, "cpuprofile", "", "folder for CPU profiles of the server and client processes")
	return opt
}

// finish checks the flags and applies -quick to those that were not set.
func (o *options) finish() error {
	if o.quick {
		o.applyQuick()
	}
	switch {
	case o.rounds < 1:
		return errors.New("-rounds must be at least 1")
	case o.duration <= 0 || o.burn <= 0 || o.timeout <= 0:
		return errors.New("-duration, -burn and -timeout must be positive")
	case o.idle < 1:
		return errors.New("-idle must be at least 1")
	case o.rate < 0 || o.chainRate < 0:
		return errors.New("-rate and -chain-rate must not be negative")
	}
	return nil
}

func (o *options) applyQuick() {
	if len(o.sets) == 0 {
		o.sets = list{setCalls, setPlain}
	}
	o.callers = numbers{1, 100}
	o.duration = 400 * time.Millisecond
}

// list is a flag of names.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(value string) error {
	*l = nil
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.TrimSpace(name); name != "" {
			*l = append(*l, name)
		}
	}
	return nil
}

// numbers is a flag of positive numbers.
type numbers []int

// String implements flag.Value.
func (l *numbers) String() string {
	var parts []string
	for _, n := range *l {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, ",")
}

// Set implements flag.Value.
func (l *numbers) Set(value string) error {
	*l = nil
	for part := range strings.SplitSeq(value, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n <= 0 {
			return fmt.Errorf("%q is no positive number", part)
		}
		if !slices.Contains(*l, n) { // otherwise there would be two cells with one key
			*l = append(*l, n)
		}
	}
	return nil
}
