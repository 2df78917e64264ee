//go:build !linux

package conn

import (
	"errors"
	"time"
)

func setUserTimeout(socket, time.Duration) error { return errors.ErrUnsupported }
