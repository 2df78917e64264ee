package listeners

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestArrivedIsAnswered: a request that has arrived when a stop begins is answered, on every kind
// of connection, whatever else has arrived on it.
func TestArrivedIsAnswered(t *testing.T) {
	t.Parallel()
	for _, w := range ways {
		if w.drops || strings.HasSuffix(w.name, shared) {
			continue
		}
		for _, k := range kinds {
			c := stopCase{k, idle, w}
			if !c.makesSense() || k.crowded {
				continue
			}
			t.Run(w.name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				c.testArrived(t)
			})
		}
	}
}

func (c stopCase) testArrived(t *testing.T) {
	const requests = 100
	places := c.kind.open(t)
	exit := time.Hour
	if c.isCutOff() {
		exit = 2 * time.Second // enough to answer on a busy machine
	}
	s := c.way.start(t, setup{places: places, gate: newGate(t), exit: exit})
	stopped := make(chan error, 1)
	results := make(chan error, len(places))
	var begin []func() // a function for each place, which reads the answers there
	for _, p := range places {
		nc, err := p.dial(p.addr.Network(), p.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		if err := nc.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
			t.Fatal(err)
		}
		s.send(t, nc)
		if err := s.receive(nc); err != nil {
			t.Fatal(err)
		}
		for range requests {
			s.send(t, nc)
		}
		begin = append(begin, func() {
			var err error
			for n := 0; n < requests && err == nil; n++ {
				err = s.receive(nc)
			}
			results <- err
		})
	}
	go func() { stopped <- s.stop() }()
	for _, f := range begin {
		go f()
	}
	var errs []error
	for range places {
		errs = append(errs, testkit.Receive(t, "the answers", results))
	}
	if err := errors.Join(errs...); err != nil {
		t.Errorf("of %d requests that had arrived: %v", requests, err)
	}
	if err := testkit.Receive(t, "the stop", stopped); err != nil && !c.isCutOff() {
		t.Error(err)
	}
}
