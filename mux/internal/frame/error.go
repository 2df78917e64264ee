package frame

import "fmt"

// Error says that bytes are not a frame that this package takes. One that the peer
// sent ends the connection, since nobody knows where the next frame begins, unless it is a
// reply that is too large: then the call fails alone, where others may share the connection.
type Error struct {
	Reason   string
	Bytes    int  // how long a frame is, or says it is, whose length is wrong; otherwise 0
	Limit    int  // this side's limit that Bytes exceeds; 0: that is not what is wrong
	Received bool // the peer sent it; otherwise this side would have
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
