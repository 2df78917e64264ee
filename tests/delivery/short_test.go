//go:build !hardening

package delivery

// How many times bytes are written and followed by the end.
const (
	toServer    = 1200
	fromConnect = 300
	fromHandler = 300
)
