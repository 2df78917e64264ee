package conn_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestReadableOverSockets: a peer sends pieces of all sizes to a connection that no goroutine
// reads. OnReadable reads all of it, and OnDisconnect is told of the end.
func TestReadableOverSockets(t *testing.T) {
	if !hasPoller(t) {
		t.Skip("no poller")
	}
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			peer, nc := netPair(t, network)
			c := newConn(t, nc, conn.Config{}, newGroup(t, conn.GroupConfig{SweepPeriod: time.Millisecond}))
			defer c.Close()
			var mu sync.Mutex // calls of OnReadable may overlap
			var got []byte
			take := func() error {
				for {
					n, err := c.TakeArrived()
					if n == 0 || err != nil {
						return err
					}
					p, _ := c.Reader().Next(n)
					got = append(got, p...)
					_ = c.Reader().Release()
				}
			}
			err := c.SetOnReadable(func(context.Context, *conn.Conn) {
				mu.Lock()
				defer mu.Unlock()
				_ = take()
			})
			testkit.Must(t, err)
			ended := make(chan error, 1)
			c.SetOnDisconnect(func(context.Context, *conn.Conn) {
				mu.Lock()
				defer mu.Unlock()
				ended <- take()
			})
			c.Watch()
			var want []byte
			for size := 1; size < 1<<20; size *= 3 {
				part := bytes.Repeat([]byte{byte(size)}, size)
				want = append(want, part...)
				if _, err := peer.Write(part); err != nil {
					t.Fatal(err)
				}
				testkit.Eventually(t, "bytes that came", func() bool {
					mu.Lock()
					defer mu.Unlock()
					return len(got) == len(want)
				})
			}
			peer.Close()
			<-ended
			mu.Lock()
			defer mu.Unlock()
			if !bytes.Equal(got, want) {
				t.Errorf("got %d bytes that are others than the %d sent", len(got), len(want))
			}
		})
	}
}

// TestUserTimeout: the user timeout is set on TCP where the system has it, and nowhere else.
func TestUserTimeout(t *testing.T) {
	for network, works := range map[string]bool{"tcp": runtime.GOOS == "linux", "unix": false, "pipe": false} {
		_, nc := netPair(t, network)
		c := newConn(t, nc, conn.Config{}, nil)
		defer c.Close()
		for _, d := range []time.Duration{time.Nanosecond, 20 * time.Second, 1<<63 - 1, 0, -1} {
			if err := c.SetUserTimeout(d); (err == nil) != works || err != nil && !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: %v: got %v", network, d, err)
			}
		}
		c.Close()
		if err := c.SetUserTimeout(time.Second); works && !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: got %v after Close", network, err)
		}
	}
}
