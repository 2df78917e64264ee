//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func decodeHistogram(encoded []byte) (*hdrhistogram.Histogram, error) {
	return hdrhistogram.Decode(encoded)
}

// runIdle measures what an idle connection costs each plain server.
func runIdle(opt options) error {
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "idle\tconnections\theap+stack B/conn\tresident B/conn\tgoroutines\t")
	for _, variant := range selected(plainVariants, opt.variants) {
		if err := runIdleCell(variant, opt, tw); err != nil {
			return fmt.Errorf("%s: %w", variant, err)
		}
	}
	return tw.Flush()
}

func runIdleCell(variant string, opt options, out io.Writer) error {
	server, addr, err := start("plain-server", opt, variant)
	if err != nil {
		return err
	}
	defer server.stop()
	var before, after usage
	if err := server.ask("collect", &before); err != nil {
		return err
	}
	holder, _, err := start("idle-client", opt, addr, strconv.Itoa(opt.idle))
	if err != nil {
		return err
	}
	defer holder.stop()
	if err := server.ask("collect", &after); err != nil {
		return err
	}
	per := func(a, b int64) float64 { return float64(b-a) / float64(opt.idle) }
	fmt.Fprintf(out, "%s\t%d\t%.0f\t%.0f\t%d\t\n", variant, opt.idle,
		per(before.HeapBytes, after.HeapBytes), per(before.RSSBytes, after.RSSBytes), after.Goroutines)
	return nil
}

// holdIdle is the main of a client that opens connections, has each answer one
// message, and keeps them: address, count.
func holdIdle(args []string) error {
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	load, err := newEpollLoad(args[0], 0)
	if err != nil {
		return err
	}
	defer load.close()
	for range count {
		if err := load.dial(args[0]); err != nil {
			return fmt.Errorf("after %d connections: %w", len(load.conns), err)
		}
	}
	if err := load.run(0); err != nil {
		return err
	}
	return answer("ready", nil)
}
