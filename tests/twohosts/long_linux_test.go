//go:build hardening

package twohosts

import "time"

const lossTime = 20 * time.Second

// slack is how much later than documented something may be seen.
const slack = 500 * time.Millisecond
