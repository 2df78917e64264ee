//go:build hardening

package twohosts

import "time"

const lossTime = 20 * time.Second
