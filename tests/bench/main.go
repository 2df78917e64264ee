//go:build linux

// Command bench measures what a call costs on Kiteline and on its peers, side
// by side in one run.
//
//	cd tests/bench && go run .          # plain servers, then Kitex services
//	cd tests/bench && go run . -set idle
//
// Every measurement has a server process and, for Kitex, a client process of
// its own: this binary executed again with a role. Variants take turns within
// each round, so that a noisy machine treats all alike, and each figure is the
// median of the rounds. README.md says how to read the figures.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// options are the flags of the program.
type options struct {
	sets     string
	variants string
	callers  string
	size     int
	rounds   int
	duration time.Duration
	idle     int
	profile  string
}

func main() {
	var opt options
	role := flag.String("role", "", "internal: what this process does for the one that started it")
	flag.StringVar(&opt.sets, "set", "plain,kitex", "what to measure: plain, kitex, idle; separated by commas")
	flag.StringVar(&opt.variants, "variants", "", "only variants whose name contains one of these; separated by commas")
	flag.StringVar(&opt.callers, "callers", "1,10,100,1000", "concurrent connections (plain) or callers (kitex)")
	flag.IntVar(&opt.size, "size", 1024, "payload in bytes")
	flag.IntVar(&opt.rounds, "rounds", 3, "rounds; each figure is their median")
	flag.DurationVar(&opt.duration, "duration", 2*time.Second, "how long one measurement lasts, after a warm-up of a fifth of it")
	flag.IntVar(&opt.idle, "idle", 16000, "connections of the idle set")
	flag.StringVar(&opt.profile, "cpuprofile", "", "a folder for CPU profiles of the server and client processes")
	flag.Parse()

	var err error
	switch {
	case *role != "":
		err = runRole(*role, flag.Args())
	default:
		err = run(opt)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures the sets that were asked for.
func run(opt options) error {
	for set := range strings.SplitSeq(opt.sets, ",") {
		var err error
		switch set {
		case "plain":
			err = runLoad(opt, "plain", plainVariants, runPlainCell)
		case "kitex":
			err = runLoad(opt, "kitex", kitexVariants, runKitexCell)
		case "idle":
			err = runIdle(opt)
		default:
			err = fmt.Errorf("unknown set %q", set)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", set, err)
		}
	}
	return nil
}

// cell is one measurement's parameters.
type cell struct {
	variant string
	callers int
	size    int
	opt     options
}

// runLoad measures variants at every number of callers and prints a table.
func runLoad(opt options, title string, variants []string, measure func(cell) (result, error)) error {
	table := newTable(title)
	counts, err := parseCounts(opt.callers)
	if err != nil {
		return err
	}
	for round := range opt.rounds {
		for _, callers := range counts {
			for _, variant := range selected(variants, opt.variants) {
				fmt.Fprintf(os.Stderr, "\r\033[K%s round %d of %d: %s, %d callers", title, round+1, opt.rounds, variant, callers)
				res, err := measure(cell{variant: variant, callers: callers, size: opt.size, opt: opt})
				if err != nil {
					return fmt.Errorf("%s with %d callers: %w", variant, callers, err)
				}
				table.add(variant, callers, res)
			}
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	table.print(os.Stdout)
	return nil
}

// selected returns the names that contain one of the comma-separated parts; all without any.
func selected(names []string, parts string) []string {
	if parts == "" {
		return names
	}
	var out []string
	for _, name := range names {
		for part := range strings.SplitSeq(parts, ",") {
			if strings.Contains(name, part) {
				out = append(out, name)
				break
			}
		}
	}
	return out
}

func parseCounts(list string) ([]int, error) {
	var counts []int
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n <= 0 {
			return nil, errors.New("-callers wants positive numbers separated by commas")
		}
		counts = append(counts, n)
	}
	return counts, nil
}
