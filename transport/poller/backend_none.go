//go:build nopoller || !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package poller

import (
	"errors"
	"fmt"
	"runtime"
)

// openBackend fails: this platform has no backend, or the build tag nopoller took it away so that
// the code of such platforms can be tested anywhere.
func openBackend() (backend, error) {
	return nil, fmt.Errorf("no poller on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
