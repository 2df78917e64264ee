//go:build hardening

package chaos

import "time"

const defaultDuration = time.Minute
