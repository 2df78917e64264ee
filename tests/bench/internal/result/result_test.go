package result

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		rounds []Round
		want   float64
		ok     bool
	}{
		{nil, 0, false},
		{[]Round{{CPU: 1}}, 0, false},
		{[]Round{{Calls: 3}}, 3, true},
		{[]Round{{Calls: 9}, {Calls: 1}, {Calls: 2}}, 2, true},
		{[]Round{{Calls: 9}, {Calls: 1}, {CPU: 7}, {Calls: 4}, {Calls: 2}}, 3, true},
		{[]Round{{Calls: 0}}, 0, true},
	} {
		got, ok := Cell{Rounds: test.rounds}.Median(Calls)
		if got != test.want || ok != test.ok {
			t.Errorf("%v: got %v, %v, want %v, %v", test.rounds, got, ok, test.want, test.ok)
		}
	}
}

// TestBaseline: a load without the run's baseline has its first variant as baseline.
func TestBaseline(t *testing.T) {
	key := func(set, variant string) Cell { return Cell{Key: Key{Set: set, Variant: variant, Callers: 1}} }
	run := &Run{
		Settings: Settings{Baseline: "b"},
		Cells:    []Cell{key("one", "a"), key("one", "b"), key("two", "c"), key("two", "d")},
	}
	for set, want := range map[string]string{"one": "b", "two": "c"} {
		got, ok := run.Baseline(Key{Set: set, Callers: 1})
		if !ok || got.Variant != want {
			t.Errorf("%s: got %q, want %q", set, got.Variant, want)
		}
	}
	if _, ok := run.Baseline(Key{Set: "one", Callers: 2}); ok {
		t.Error("a load that was not measured has a baseline")
	}
}

// TestFile writes a run and reads the same.
func TestFile(t *testing.T) {
	run := &Run{
		Started:  time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Modules:  map[string]string{"m": "v1"},
		Settings: Settings{Rounds: 3, Duration: time.Second, Rate: 1.5},
		Cells: []Cell{{
			Key:       Key{Set: "s", Variant: "v", Callers: 1, Size: 2, Share: 3, Burn: 4, Timeout: 5, CPUs: "one"},
			Rounds:    []Round{{Calls: 1.25, P99: 3}, {Calls: 2}},
			Disturbed: 1,
		}},
	}
	path := filepath.Join(t.TempDir(), "run.json")
	if err := run.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, run) {
		t.Errorf("got %+v, want %+v", got, run)
	}
	if _, ok := got.Cell(run.Cells[0].Key); !ok {
		t.Error("the cell is not found by its key")
	}
	for name, content := range map[string]string{"empty": "", "no JSON": "x", "no cells": "{}"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil {
			t.Errorf("%s: was read", name)
		}
	}
}
