package peer

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// start serves r and returns its address.
func start(t testing.TB, r RPC, work func()) string {
	t.Helper()
	ln := listen(t)
	addr := ln.Addr().String()
	if err := r.Serve(ln, work); err != nil {
		t.Fatal(err)
	}
	return addr
}

func dial(t testing.TB, r RPC, addr string, timeout time.Duration) Client {
	t.Helper()
	c, err := r.Dial(addr, callers, timeout)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRPC makes calls of several sizes from many callers, each with bytes of its own, with and
// without a timeout, and counts how often the work was done.
func TestRPC(t *testing.T) {
	for _, r := range RPCs() {
		t.Run(r.Name, func(t *testing.T) {
			var worked atomic.Int64
			addr := start(t, r, func() { worked.Add(1) })
			for _, timeout := range []time.Duration{0, time.Minute} {
				c := dial(t, r, addr, timeout)
				connect(t, c)
				for _, size := range append(sizes, 0) {
					t.Run(fmt.Sprintf("timeout=%v/size=%d", timeout, size), func(t *testing.T) {
						checkCalls(t, c, size, &worked)
					})
				}
			}
		})
	}
}

// connect makes calls one at a time until netpollmux has all of its connections: its pool has a
// data race if it dials for one caller while another asks.
func connect(t *testing.T, c Client) {
	t.Helper()
	call := c.Caller(1)
	for range 4 {
		if err := call(background); err != nil {
			t.Fatal(err)
		}
	}
}

// checkCalls calls through the Client and through the layer below it, which shows the bytes.
func checkCalls(t *testing.T, c Client, size int, worked *atomic.Int64) {
	const rounds = 3
	before := worked.Load()
	err := together(callers, func(i int) error {
		want := pattern(i, size)
		bare, counted := c.(client)(want), c.Caller(size)
		for range rounds {
			got, err := bare(background)
			if err != nil {
				return err
			}
			if err := differ(got, want); err != nil {
				return err
			}
			if err := counted(background); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := worked.Load()-before, int64(2*rounds*callers); got != want {
		t.Errorf("work ran %d times, want %d", got, want)
	}
}

// TestRPCWithoutWork gives Serve no work.
func TestRPCWithoutWork(t *testing.T) {
	for _, r := range RPCs() {
		t.Run(r.Name, func(t *testing.T) {
			call := dial(t, r, start(t, r, nil), 0).Caller(64)
			if err := call(background); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRPCTimeout uses work that goes on until the call has failed, and checks that the client is
// usable afterwards.
func TestRPCTimeout(t *testing.T) {
	const timeout = 250 * time.Millisecond
	for _, r := range RPCs() {
		t.Run(r.Name, func(t *testing.T) {
			failed := make(chan struct{})
			work := func() {
				select {
				case <-failed:
				case <-time.After(patience):
				}
			}
			call := dial(t, r, start(t, r, work), timeout).Caller(64)
			began := time.Now()
			err := call(background)
			took := time.Since(began)
			close(failed)
			if !kerrors.IsTimeoutError(err) && status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("got %v, want a timeout", err)
			}
			if took < timeout || took > timeout+patience/2 {
				t.Errorf("failed after %v, want %v", took, timeout)
			}
			if err := call(background); err != nil {
				t.Errorf("after the timeout: %v", err)
			}
		})
	}
}

// TestRPCNobodyThere calls an address without a listener. Dial or the first call may fail.
func TestRPCNobodyThere(t *testing.T) {
	for _, r := range RPCs() {
		t.Run(r.Name, func(t *testing.T) {
			c, err := r.Dial(unusedAddr(t), callers, 0)
			if err != nil {
				return
			}
			if err := c.Caller(64)(background); err == nil {
				t.Error("a call of nobody succeeded")
			}
		})
	}
}

func TestFind(t *testing.T) {
	for _, r := range RPCs() {
		if got, err := FindRPC(r.Name); err != nil || got.Name != r.Name {
			t.Errorf("FindRPC(%q): got %q, %v", r.Name, got.Name, err)
		}
	}
	for _, p := range Plains() {
		if got, err := FindPlain(p.Name); err != nil || got.Name != p.Name {
			t.Errorf("FindPlain(%q): got %q, %v", p.Name, got.Name, err)
		}
	}
	_, rpcErr := FindRPC("gnet")
	_, plainErr := FindPlain("kitex")
	for err, want := range map[error]string{
		rpcErr:   "kitex, kiteline, kiteline-kitexcodec, kiteline-mux, gonet, netpollmux-1, netpollmux-2, kitex-grpc, grpc-go",
		plainErr: "netpoll, kiteline, gnet, gonet",
	} {
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want an error that ends with %q", err, want)
		}
	}
}

// TestServeFails gives a closed listener to the servers that can tell at once.
func TestServeFails(t *testing.T) {
	for _, name := range []string{"netpoll", "gnet"} {
		p, err := FindPlain(name)
		if err != nil {
			t.Fatal(err)
		}
		ln := listen(t)
		ln.Close()
		if err := p.Serve(ln, 64); err == nil {
			t.Errorf("%s serves a closed listener", name)
		}
	}
}

var errFault = errors.New("fault")
