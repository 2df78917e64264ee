package pool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux"
)

// TestMuxClean removes an address from discovery while a call is in flight. The call goes on,
// and then its connection is closed.
func TestMuxClean(t *testing.T) {
	t.Parallel()
	pool := newSharedCalls(t, MuxConfig{MaxConns: 1})
	address := pool.server.address
	pool.share()
	done := pool.held()
	old := pool.lookup(netAddr{"tcp", address})
	pool.Clean("tcp", address)
	if st := pool.Stats(); len(st.Addresses) != 0 || st.InFlight != 1 || st.Dials != 1 {
		t.Errorf("got %+v, want no address, and a call that is counted", st)
	}
	if st := old.Stats(); st.Connections != 1 || st.Draining != 1 || st.InFlight != 1 {
		t.Errorf("got %+v, want one that drains", st)
	}
	pool.share() // on a new connection: the address may come back
	pool.server.letGo()
	if err := testkit.Receive(t, "call", done); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "the old connection is closed", func() bool { return old.Stats().Connections == 0 })
	pool.Clean("tcp", "127.0.0.1:1") // unknown
	pool.expire()
	pool.mu.Lock()
	if n := len(pool.retired); n != 0 {
		t.Errorf("%d cleaned addresses are still remembered", n)
	}
	pool.mu.Unlock()
	if st := pool.Stats(); st.Dials != 2 || st.Drains != 1 || st.InFlight != 0 {
		t.Errorf("got %+v, want the dials of both", st)
	}
	if _, err := old.Begin(context.Background(), time.Time{}); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("got %v, want a closed set", err)
	}
}

// TestMuxCloseCleaned: Close fails the calls of an address that was removed before.
func TestMuxCloseCleaned(t *testing.T) {
	t.Parallel()
	pool := newSharedCalls(t, MuxConfig{MaxConns: 1})
	pool.share()
	done := pool.held()
	pool.Clean("tcp", pool.server.address)
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if err := testkit.Receive(t, "call", done); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("got %v, want mux.ErrClosed", err)
	}
}

// TestMuxConnectTimeout: a dial has the connect timeout of the latest call.
func TestMuxConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, d := NewMux("echo", MuxConfig{}), &contextDialer{}
		for _, timeout := range []time.Duration{time.Second, patience} {
			c, err := pool.Get(t.Context(), "tcp", fakeAddress, remote.ConnOption{Dialer: d, ConnectTimeout: timeout})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close() // one call at a time, since there was no reply: the next one dials
			if d.timeout != timeout {
				t.Errorf("dialed with %v, want %v", d.timeout, timeout)
			}
		}
		must(pool.Close())
		d.peers.Wait()
	})
}

// TestMuxReporter: the pool reports dials and calls once that is enabled.
func TestMuxReporter(t *testing.T) {
	t.Parallel()
	pool, refused := newSharedCalls(t, MuxConfig{MaxConns: 1}), refusedAddresses(t, 1)[0]
	address := pool.server.address
	report := func(address string) poolReport { return poolReports().take("echo", address) }
	report(address)
	report(refused)
	pool.share()
	if got := report(address); got != (poolReport{}) {
		t.Errorf("reported before that was enabled: %+v", got)
	}
	pool.EnableReporter()
	pool.Clean("tcp", address)
	pool.share()
	pool.share()
	if _, err := pool.Get(context.Background(), "tcp", refused, pool.opt); err == nil {
		t.Error("nobody listens there")
	}
	if got, want := report(address), (poolReport{dials: 1, reuses: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := report(refused), (poolReport{failures: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestMuxDump: Dump and DumpText show the state to programs and to people.
func TestMuxDump(t *testing.T) {
	t.Parallel()
	pool := newSharedCalls(t, MuxConfig{MaxConns: 1, MaxAge: time.Hour})
	address := pool.server.address
	pool.share()
	done := pool.held()
	text, err := json.Marshal(pool.Dump())
	if err != nil {
		t.Fatal(err)
	}
	var dump struct {
		Service   string
		Config    struct{ MaxConns int }
		Addresses []struct {
			Network, Address    string
			Connections, Shared int
			InFlight            int
			Frames              uint64
		}
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		t.Fatal(err)
	}
	if len(dump.Addresses) != 1 || dump.Service != "echo" || dump.Config.MaxConns != 1 {
		t.Fatalf("got %s", text)
	}
	if a := dump.Addresses[0]; a.Network != "tcp" || a.Address != address || a.Connections != 1 || a.Shared != 1 || a.InFlight != 1 || a.Frames != 2 {
		t.Errorf("got %s", text)
	}
	var b strings.Builder
	testkit.Eventually(t, "the caller reads", func() bool {
		b.Reset()
		if err := pool.DumpText(&b); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(b.String(), "read by a caller")
	})
	const head = "echo: connections 1 (1 shared, 0 not, 0 draining, 0 dialing), calls in flight 1, waiting 0\n"
	for _, want := range []string{head, "\n  tcp " + address + ", peer shared: 1 connections", " → " + address + ": shared, ", "1 in flight"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if want := errors.New("full"); !errors.Is(pool.DumpText(failingWriter{want}), want) {
		t.Error("a writer's error is lost")
	}
	var n writes
	if err := pool.DumpText(&n); err != nil || n != 1 {
		t.Errorf("got %d writes, %v, want 1", n, err)
	}
	pool.server.letGo()
	if err := testkit.Receive(t, "call", done); err != nil {
		t.Error(err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// writes counts how many times it is written to.
type writes int

func (w *writes) Write(p []byte) (int, error) {
	*w++
	return len(p), nil
}

// TestDumpWithoutAddresses: a pool that knows no address shows programs an empty list, not null,
// and people a line.
func TestDumpWithoutAddresses(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]interface {
		Dump() any
		DumpText(w io.Writer) error
		Close() error
	}{"Pool": New("echo", Config{}), "Mux": NewMux("echo", MuxConfig{})} {
		if text, err := json.Marshal(p.Dump()); err != nil || !bytes.Contains(text, []byte(`"Addresses":[]`)) {
			t.Errorf("%s: got %s, %v", name, text, err)
		}
		var text strings.Builder
		err := p.DumpText(&text)
		if line, rest, ok := strings.Cut(text.String(), "\n"); err != nil || !ok || rest != "" || !strings.HasPrefix(line, "echo: connections 0 (") {
			t.Errorf("%s: got %q, %v", name, text.String(), err)
		}
		must(p.Close())
	}
}
