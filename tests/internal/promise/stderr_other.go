//go:build !linux

package promise

import (
	"errors"
	"os"
)

// goStderr needs /proc.
func goStderr() (*os.File, error) { return nil, errors.ErrUnsupported }
