//go:build !hardening

package chaos

import "time"

const defaultDuration = 5 * time.Second
