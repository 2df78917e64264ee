package testpeer

import (
	"io"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// Received is a frame that has come.
type Received struct {
	frame.Prefix
	Signal  frame.Signal // what a control frame says, or SignalHello for a frame with a mark
	Message frame.Message
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
	r := Received{Prefix: pre, Payload: rest[pre.HeaderBytes:]}
	if pre.IsControl() {
		r.Message, err = frame.ParseControl(rest[:pre.HeaderBytes])
	} else {
		r.Message, _ = frame.FindMark(rest[:pre.HeaderBytes], pre.SeqID)
	}
	r.Signal = r.Message.Signal
	return r, err
}
