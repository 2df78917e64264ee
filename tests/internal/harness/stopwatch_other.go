//go:build !linux

package harness

import "time"

// keptWaiting returns zero, because the time is not known here.
func keptWaiting() time.Duration { return 0 }
