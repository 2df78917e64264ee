//go:build !hardening

package twohosts

import "time"

const lossTime = 2 * time.Second
