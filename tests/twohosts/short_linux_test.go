//go:build !hardening

package twohosts

import (
	"time"

	"github.com/kiteline/kiteline/tests/internal/harness"
)

const lossTime = 2 * time.Second

// slack is how much later than documented something may be seen: as late as on any busy machine. The bounds
// themselves are held by the long run, on a quiet one.
const slack = harness.Patience
