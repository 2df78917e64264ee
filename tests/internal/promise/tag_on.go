//go:build hardening

package promise

const measures = true
