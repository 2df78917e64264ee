package leak

import (
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/buffer"
)

// TestMain finds nothing after the tests, which clean up.
func TestMain(m *testing.M) { Main(m) }

// TestLeaksAreFound: what is left is found, and what ends a moment later is waited for.
func TestLeaksAreFound(t *testing.T) {
	const moment = 100 * time.Millisecond
	current := []goleak.Option{goleak.IgnoreCurrent()}
	sockets := len(Descriptors())
	for name, tc := range map[string]struct {
		leak  func(t *testing.T) (end func())
		check func(within time.Duration) error
	}{
		"goroutine": {
			func(*testing.T) func() {
				ended := make(chan struct{})
				go func() { <-ended }()
				return func() { close(ended) }
			},
			func(within time.Duration) error { return goroutines(within, current) },
		},
		"descriptor": {
			func(t *testing.T) func() {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				if len(Descriptors("socket:")) == 0 {
					t.Skip("no /proc")
				}
				return func() { ln.Close() }
			},
			func(within time.Duration) error { return descriptors(within, sockets) },
		},
		"block": {
			func(t *testing.T) func() {
				if _, ok := buffer.Outstanding(); !ok {
					t.Skip("without the tag buffercheck blocks are not counted")
				}
				var b buffer.LinkBuffer
				if _, err := b.Malloc(1); err != nil {
					t.Fatal(err)
				}
				return func() { b.Close() }
			},
			blocks,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.check(testkit.Patience); err != nil {
				t.Fatalf("before: got %v, want nothing", err)
			}
			end := tc.leak(t)
			if err := tc.check(moment); err == nil {
				t.Error("got nothing, want what is left")
			}
			time.AfterFunc(moment, end)
			if err := tc.check(testkit.Patience); err != nil {
				t.Errorf("afterwards: got %v, want nothing", err)
			}
		})
	}
}
