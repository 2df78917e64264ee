//go:build hardening

package delivery

// How many times bytes are written and followed by the end.
const (
	toServer    = 100_000
	fromConnect = 50_000
	fromHandler = 50_000
)
