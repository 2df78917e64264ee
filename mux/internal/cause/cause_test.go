package cause

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestCauses: a cause matches the standard library's error, and a panic becomes conn's error.
func TestCauses(t *testing.T) {
	if !errors.Is(ErrClosed, net.ErrClosed) || !errors.Is(ErrSilent, os.ErrDeadlineExceeded) {
		t.Error("causes do not match errors of the standard library")
	}
	failure := callback.Apart(func() { panic("x") })
	var of error = OfPanic(failure)
	var as *conn.PanicError
	if !errors.As(of, &as) || as.Value != "x" || len(as.Stack) == 0 {
		t.Errorf("got %#v", of)
	}
}
