package frame

import "fmt"

// Error says that bytes are not a frame that this package takes. A received bad frame ends the
// connection, since its reader cannot tell where the next frame begins. The exception is a reply
// that is too large on a shared connection, which fails only its own call.
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
