//go:build linux

// Command bench measures what a call costs on Kiteline and on its peers, side
// by side in one run.
//
//	cd tests/bench && go run .                      # everything, under 20 minutes
//	cd tests/bench && go run . -quick               # under one
//	cd tests/bench && go run . -out results         # JSON and a page with charts, too
//	cd tests/bench && go run . -compare old.json    # what changed since then
//
// Every measurement has a server process and a client process of its own: this binary executed
// again with a role. Variants take turns within each round, so that a noisy machine affects all
// alike, and each figure is the median of the rounds. README.md says how to read the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A child's first argument; see proc.Spec.
	role := flag.String("role", "", "internal: what this process does for the one that started it")
	opt := defineOptions(flag.CommandLine)
	flag.Parse()

	var err error
	if *role != "" {
		err = runRole(*role, flag.Arg(0))
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, opt)
		stop()
	}
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
