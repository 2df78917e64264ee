package poller

import (
	"errors"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestOpenWithoutBackend checks what Open returns where there is no backend; run it with -tags
// nopoller.
func TestOpenWithoutBackend(t *testing.T) {
	p, err := Open(Config{})
	if err == nil {
		p.Close()
		t.Skip("this build has a backend")
	}
	testkit.ErrorIs(t, err, errors.ErrUnsupported, "Open")
	if _, err := NewGroup(GroupConfig{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("NewGroup: got %v, want %v", err, errors.ErrUnsupported)
	}
}
