package testpeer

import (
	"io"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// Received is a frame that has come.
type Received struct {
	frame.Prefix
	Signal  frame.Signal
	Payload []byte
}

// Receive reads one frame.
func Receive(in io.Reader) (Received, error) {
	start := make([]byte, frame.PrefixBytes)
	if _, err := io.ReadFull(in, start); err != nil {
		return Received{}, err
	}
	pre, err := frame.Parse(start, 1<<30)
	if err != nil {
		return Received{}, err
	}
	rest := make([]byte, pre.Bytes-frame.PrefixBytes)
	if _, err := io.ReadFull(in, rest); err != nil {
		return Received{}, err
	}
	sig, err := frame.ParseSignal(rest[:pre.HeaderBytes])
	return Received{pre, sig, rest[pre.HeaderBytes:]}, err
}
