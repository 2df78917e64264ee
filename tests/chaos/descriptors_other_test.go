//go:build !unix

package chaos

import (
	"errors"
	"slices"
)

// errNoPair is never returned here.
var errNoPair = errors.New("no socket pair")

// throughNewDescriptors does nothing: the runtime closes sockets here, and nothing writes to a
// number by mistake.
func throughNewDescriptors(token []byte, between func()) (got []byte, err error) {
	between()
	return slices.Clone(token), nil
}
