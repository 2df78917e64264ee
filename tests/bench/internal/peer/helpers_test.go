package peer

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"
)

// The servers of these tests end with the process. They are started one after the other: netpoll
// closes its listener's descriptor twice, and the second time may close what another test has
// opened meanwhile.

// sizes are the size of a message within one read, and of one that takes many.
var sizes = []int{1, 64, 1 << 20}

// callers is the number of simultaneous callers.
const callers = 20

// patience is how long the tests wait for events that should come at once.
const patience = 5 * time.Second

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// unusedAddr returns an address without a listener.
func unusedAddr(t testing.TB) string {
	t.Helper()
	ln := listen(t)
	defer ln.Close()
	return ln.Addr().String()
}

// pattern returns size bytes that differ from those of every other seed.
func pattern(seed, size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i>>8) ^ byte(i) ^ byte(seed)
	}
	return p
}

// differ says where got differs from want.
func differ(got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Errorf("of %d bytes, byte %d is %#x, want %#x", len(got), i, got[i], want[i])
		}
	}
	return fmt.Errorf("got %d bytes, want %d", len(got), len(want))
}

// together calls f from that many goroutines and returns the first error.
func together(n int, f func(i int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	var first error
	for range n {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// background cannot be cancelled, as in a measurement: for a context that can be, Kitex makes each
// call in a goroutine of its own.
var background = context.Background()
