package peer

import (
	"context"
	"fmt"
)

// call sends the request it was made for and returns what came back, which is
// valid until the next call.
type call func(ctx context.Context) (reply []byte, err error)

// client is the Client of every framework. The framework's part is to make a
// request of data once, and to send it again and again.
type client func(data []byte) call

// Caller implements Client.
func (c client) Caller(size int) func(ctx context.Context) error {
	send := c(make([]byte, size))
	return func(ctx context.Context) error {
		reply, err := send(ctx)
		if err != nil {
			return err
		}
		if len(reply) != size {
			return fmt.Errorf("got %d bytes back, want %d", len(reply), size)
		}
		return nil
	}
}
