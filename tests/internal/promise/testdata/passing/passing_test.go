// Package passing is run by the tests of promise.
package passing

import (
	"testing"

	"github.com/kiteline/kiteline/tests/internal/promise"
)

func TestMain(m *testing.M) { promise.Main(m, (*testing.M).Run) }

func TestPromise(t *testing.T) { promise.Check(t, "a promise", "kept", "kept", true) }
