//go:build !unix

package harness

import (
	"net"
	"runtime"
	"testing"
)

// shortenBacklog skips the test.
func shortenBacklog(t testing.TB, _ net.Listener) {
	t.Skip("the length of an accept queue is fixed on " + runtime.GOOS)
}
