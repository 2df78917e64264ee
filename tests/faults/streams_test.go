package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/codes"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/grpc"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/status"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// checkTold fails the test if a side of a stream was told, after the stream had been cut off, that
// the other side had sent everything. what names the stream.
func checkTold(t *testing.T, what string, a *account, side string) {
	t.Helper()
	heard := false
	for _, e := range a.all() {
		if !strings.HasPrefix(e.op, side) {
			continue
		}
		heard = true
		if errors.Is(e.err, io.EOF) || errors.Is(e.err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %s: the stream looks complete: %v (%T)", what, e.op, e.err, e.err)
		}
		// A Send may fill a buffer, and a call that finds its connection cut off may take another.
		if e.err == nil && !strings.HasSuffix(e.op, "Send") && e.op != "client call" {
			t.Errorf("%s: %s: got no error", what, e.op)
		}
	}
	if !heard {
		t.Errorf("%s: the %s was told nothing", what, side)
	}
}

// checkKinds fails the test unless the errors of a stream whose connection has ended are of Kitex's
// kinds for that. The kinds are the same whatever carries the stream.
func checkKinds(t *testing.T, what string, a *account) {
	t.Helper()
	for _, e := range a.all() {
		var connection grpc.ConnectionError
		code := status.Code(e.err)
		switch {
		case e.err == nil:
		case errors.Is(e.err, kerrors.ErrStreamingProtocol), errors.Is(e.err, kerrors.ErrStreamingCanceled):
		case errors.Is(e.err, kerrors.ErrRemoteOrNetwork), errors.Is(e.err, kerrors.ErrGetConnection), errors.As(e.err, &connection):
		case code == codes.Canceled, code == codes.Unavailable:
		// This is a Send after the reader has seen the end.
		case code == codes.Internal && strings.HasSuffix(e.err.Error(), "the stream is done"):
		default:
			t.Errorf("%s: %s: got another kind of error: %v (%T)", what, e.op, e.err, e.err)
		}
	}
}

// inBoth runs check as a parallel test for each protocol over stock Kitex and over Kiteline.
func inBoth(t *testing.T, check func(*testing.T, protocol, harness.Transport)) {
	for _, p := range protocols {
		for _, tr := range harness.Both {
			t.Run(fmt.Sprintf("%s/%v", p.name, tr), func(t *testing.T) {
				t.Parallel()
				check(t, p, tr)
			})
		}
	}
}

// startStreams starts a server of p that stops when its connections have ended: a stock server that
// has stopped notices no end, and leaves a goroutine for each stream.
func startStreams(t *testing.T, p protocol, tr harness.Transport) (*harness.Server, *accounts) {
	t.Helper()
	newServer, opened := p.serve()
	s := harness.Start(t, harness.ServerConfig{Transport: tr, New: newServer, ForcedStop: true})
	t.Cleanup(func() {
		testkit.Eventually(t, "connections end", func() bool { return s.Connections.Open() == 0 })
	})
	return s, opened
}

// cutPositions are the numbers of bytes after which streams are cut off: between frames, inside a
// frame's length, and inside its header; in a long run, everywhere.
func cutPositions() []int64 {
	if !testkit.Long {
		return []int64{0, 1, 20}
	}
	var all []int64
	for n := range int64(150) {
		all = append(all, n)
	}
	return all
}

// streamCut says where and how a stream is cut off.
type streamCut struct {
	shape     shape
	direction string // "requests", "replies", or "idle": at once, with nothing in flight
	end       string // one of ends
	after     int64  // bytes that are passed on before the cut
}

// String names the cut.
func (c streamCut) String() string {
	return fmt.Sprintf("%s, %s, %s after %d bytes", c.shape, c.direction, c.end, c.after)
}

// streamCuts are all cuts of a stream after which both sides have something left to do.
func streamCuts() []streamCut {
	var all []streamCut
	for how := range ends {
		for _, sh := range shapes {
			if sh != unary {
				all = append(all, streamCut{sh, "idle", how, 0})
			}
			for _, after := range cutPositions() {
				if sh != serverStream {
					all = append(all, streamCut{sh, "requests", how, after})
				}
				if sh != clientStream {
					all = append(all, streamCut{sh, "replies", how, after})
				}
			}
		}
	}
	return all
}

// TestStreamCut cuts the connection of a stream off anywhere, in any way. No side takes what it has
// for everything.
func TestStreamCut(t *testing.T) {
	inBoth(t, func(t *testing.T, p protocol, tr harness.Transport) {
		s, opened := startStreams(t, p, tr)
		for _, c := range streamCuts() {
			cutStream(t, p, tr, s, opened, c)
		}
	})
}

// cutStream runs a stream through a proxy that cuts it off.
func cutStream(t *testing.T, p protocol, tr harness.Transport, s *harness.Server, opened *accounts, c streamCut) {
	t.Helper()
	proxy := newCutter(t, s.Addr, ends[c.end])
	a := opened.open()
	defer a.arm() // however the test ends, so that the handler ends too
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	budget := &proxy.requests
	if c.direction == "replies" {
		budget = &proxy.replies
	}
	cut := func() {
		if c.direction == "idle" {
			proxy.cutNow()
		} else {
			budget.Store(c.after)
		}
		a.arm()
	}
	ended := make(chan error, 1)
	cli := p.dial(t, tr, proxy.addr)
	go func() {
		err := cli.warmUp(ctx)
		if err == nil {
			err = cli.run(ctx, c.shape, a, cut)
		}
		ended <- err
	}()
	if err := testkit.Receive(t, c.String()+": the client's end", ended); err != nil {
		t.Fatalf("%v: before the cut: %v", c, err)
	}
	select {
	case <-a.begun:
		testkit.Receive(t, c.String()+": the handler's end", a.done)
	default: // no request has come
	}
	if c.direction != "idle" && budget.Load() >= 0 {
		return // there were fewer bytes
	}
	checkTold(t, c.String(), a, "client")
	if c.shape != unary {
		checkTold(t, c.String(), a, "server")
	}
	checkKinds(t, c.String(), a)
}

// TestLateRequest sends a call's request when the next call's account is open, and twice, as a
// request that is sent again after a cut may come. It counts in its own account: otherwise
// TestStreamCut would mistake it for the next call.
func TestLateRequest(t *testing.T) {
	inBoth(t, func(t *testing.T, p protocol, tr harness.Transport) {
		s, opened := startStreams(t, p, tr)
		// The end of cli is the end of its connections.
		cli := p.dial(t, tr, newCutter(t, s.Addr, ends["FIN"]).addr)
		over, next := opened.open(), opened.open()
		over.arm()
		defer next.arm()
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
		defer cancel()
		for range 2 {
			if err := cli.run(ctx, unary, over, func() {}); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range over.all() {
			if e.err != nil {
				t.Errorf("late: %s: got %v, want nil", e.op, e.err)
			}
		}
		if err := cli.warmUp(ctx); err != nil {
			t.Errorf("the next call's warm-up: got %v, want nil", err)
		}
		select {
		case <-next.begun:
			t.Error("the late request was taken for the next call's")
		default:
		}
	})
}

// openAll opens a stream for each account with cli, calls cut when all are open, and returns when
// they have ended, or with the first error before that.
func openAll(ctx context.Context, cli runner, opened map[shape]*account, cut func()) error {
	if err := cli.warmUp(ctx); err != nil {
		return err
	}
	var ready, ended sync.WaitGroup
	ready.Add(len(opened))
	isCut := make(chan struct{})
	failed := make(chan error, len(opened))
	for sh, a := range opened {
		wait := func() { ready.Done(); <-isCut }
		if sh == unary { // it is in flight once its handler runs
			wait = func() {
				go func() { <-a.begun; ready.Done() }()
			}
		}
		ended.Go(func() {
			err := cli.run(ctx, sh, a, wait)
			if err != nil {
				failed <- err
				ready.Done()
			}
		})
	}
	ready.Wait()
	cut()
	close(isCut)
	ended.Wait()
	close(failed)
	return <-failed
}

// openAccounts opens an account for each shape.
func openAccounts(opened *accounts) map[shape]*account {
	all := make(map[shape]*account)
	for _, sh := range shapes {
		all[sh] = opened.open()
	}
	return all
}

// endedStreams waits until the handlers of all streams have returned.
func endedStreams(t *testing.T, all map[shape]*account) {
	t.Helper()
	for sh, a := range all {
		testkit.Receive(t, fmt.Sprintf("end of the handler: %s", sh), a.done)
	}
}

// TestStreamTimeout lets the time of a stream end while it is open.
func TestStreamTimeout(t *testing.T) {
	inBoth(t, func(t *testing.T, p protocol, tr harness.Transport) {
		s, opened := startStreams(t, p, tr)
		// The end of cli is the end of its connections.
		cli := p.dial(t, tr, newCutter(t, s.Addr, ends["FIN"]).addr)
		// A client that collects, and closes its side, says itself that it has sent everything.
		for _, sh := range []shape{serverStream, bidirectional} {
			a := opened.open()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			err := cli.run(ctx, sh, a, func() { <-ctx.Done(); a.arm() })
			if err != nil {
				t.Logf("%s: the time was over before it was open: %v", sh, err)
				cancel()
				a.arm()
				continue
			}
			testkit.Receive(t, "the handler's end", a.done)
			cancel()
			checkTold(t, string(sh), a, "client")
			checkTold(t, string(sh), a, "server")
		}
	})
}

// TestStreamOfStoppedServer lets a server's stop run out of time while streams are open. A stock
// server leaves those of TTHeader open, with a goroutine for each.
func TestStreamOfStoppedServer(t *testing.T) {
	inBoth(t, func(t *testing.T, p protocol, tr harness.Transport) {
		if tr == harness.Netpoll && p.name == protocolTTHeader {
			t.Skip("a stock server's streams do not end")
		}
		s, opened := startStreams(t, p, tr)
		all := openAccounts(opened)
		err := openAll(t.Context(), p.dial(t, tr, s.Addr), all, func() {
			s.MustStop()
			for _, a := range all {
				a.arm()
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		endedStreams(t, all)
		for sh, a := range all {
			if sh == unary {
				continue
			}
			checkTold(t, string(sh), a, "client")
			checkTold(t, string(sh), a, "server")
		}
	})
}
