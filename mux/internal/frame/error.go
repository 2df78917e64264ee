package frame

import (
	"fmt"
	"reflect"
)

// Error says that bytes are not a frame that this package takes. Packages mux and muxserver each
// have a FrameError of the same fields, into which they convert it, and which converts itself into
// an Error for its methods.
type Error struct {
	Reason   string
	Bytes    int  // the length that a frame has or claims, if it is wrong; otherwise 0
	Limit    int  // this side's limit that Bytes exceeds; 0: no limit is exceeded
	Received bool // the peer sent it; otherwise this side wanted to
}

// Error implements error.
func (e *Error) Error() string {
	kind := "bad frame to send"
	if e.Received {
		kind = "bad frame received"
	}
	switch {
	case e.Limit > 0:
		return fmt.Sprintf("mux: %s: %s (%d bytes, limit %d)", kind, e.Reason, e.Bytes, e.Limit)
	case e.Bytes > 0:
		return fmt.Sprintf("mux: %s: %s (%d bytes)", kind, e.Reason, e.Bytes)
	}
	return "mux: " + kind + ": " + e.Reason
}

// As implements what errors.As asks for: it makes the error a target of any type with the fields
// of Error. So each package's FrameError is found under the other's name too.
func (e *Error) As(target any) bool {
	to, from := reflect.ValueOf(target).Elem(), reflect.ValueOf(e)
	if !from.CanConvert(to.Type()) {
		return false
	}
	to.Set(from.Convert(to.Type()))
	return true
}
