//go:build linux

package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the child processes too.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-role" {
		if err := runRole(os.Args[2], os.Args[3:]); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestCells measures each variant of each set for a moment, so that the program
// cannot rot. What it measures is not looked at.
func TestCells(t *testing.T) {
	opt := options{duration: 50 * time.Millisecond, size: 64, idle: 50}
	for name, set := range map[string]struct {
		variants []string
		measure  func(cell) (result, error)
	}{
		"plain": {plainVariants, runPlainCell},
		"kitex": {kitexVariants, runKitexCell},
	} {
		for _, variant := range set.variants {
			t.Run(name+"/"+variant, func(t *testing.T) {
				res, err := set.measure(cell{variant: variant, callers: 3, size: opt.size, opt: opt})
				if err != nil {
					t.Fatal(err)
				}
				if res.calls <= 0 || res.serverCPU <= 0 || res.p50 <= 0 || res.p999 < res.p50 {
					t.Errorf("implausible: %+v", res)
				}
			})
		}
	}
	for _, variant := range plainVariants {
		t.Run("idle/"+variant, func(t *testing.T) {
			var out strings.Builder
			if err := runIdleCell(variant, opt, &out); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(out.String(), variant) {
				t.Errorf("got %q", out.String())
			}
		})
	}
}

// TestDeadChild ends with an error, and not by hanging, when a child dies.
func TestDeadChild(t *testing.T) {
	if _, _, err := start("plain-server", options{}, "nonsense"); err == nil {
		t.Error("an unknown variant started")
	}
	server, _, err := start("plain-server", options{}, "gonet")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.ask("usage", new(usage)); err == nil {
		t.Error("a killed process answered")
	}
	server.stop()
}
