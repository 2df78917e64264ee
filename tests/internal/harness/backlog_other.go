//go:build !unix

package harness

import (
	"net"
	"runtime"
	"testing"
)

// ShortenBacklog skips the test.
func ShortenBacklog(t testing.TB, _ net.Listener) {
	t.Skip("the length of an accept queue is fixed on " + runtime.GOOS)
}
