package peer

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// TestPlain sends messages of several sizes over many connections.
func TestPlain(t *testing.T) {
	for _, p := range Plains() {
		t.Run(p.Name, func(t *testing.T) {
			for _, size := range sizes {
				t.Run(fmt.Sprintf("size=%d", size), func(t *testing.T) {
					addr := startPlain(t, p, size)
					err := together(callers, func(i int) error { return exchange(addr, pattern(i, size)) })
					if err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

func startPlain(t testing.TB, p Plain, size int) string {
	t.Helper()
	ln := listen(t)
	addr := ln.Addr().String()
	if err := p.Serve(ln, size); err != nil {
		t.Fatal(err)
	}
	return addr
}

// exchange sends a message several times and reads it back, the last time two at once.
func exchange(addr string, message []byte) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for _, times := range []int{1, 1, 2} {
		written := make(chan error, 1)
		go func() {
			for range times {
				if _, err := c.Write(message); err != nil {
					written <- err
					return
				}
			}
			written <- nil
		}()
		got := make([]byte, len(message))
		for range times {
			if _, err := io.ReadFull(c, got); err != nil {
				return err
			}
			if err := differ(got, message); err != nil {
				return err
			}
		}
		if err := <-written; err != nil {
			return err
		}
	}
	return nil
}

// TestPlainWaitsForWholeMessages sends all but a byte, which no server may answer.
func TestPlainWaitsForWholeMessages(t *testing.T) {
	const size = 64
	for _, p := range Plains() {
		t.Run(p.Name, func(t *testing.T) {
			c, err := net.Dial("tcp", startPlain(t, p, size))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			message := pattern(1, size)
			if _, err := c.Write(message[:size-1]); err != nil {
				t.Fatal(err)
			}
			if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, size)
			if n, err := c.Read(got); err == nil {
				t.Fatalf("%d bytes came back before the message was whole", n)
			}
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(message[size-1:]); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
			if err := differ(got, message); err != nil {
				t.Error(err)
			}
		})
	}
}
