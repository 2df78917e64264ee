package peer

import (
	"context"
	"fmt"
)

// call sends its request and returns the reply, which is valid until the next call.
type call func(ctx context.Context) (reply []byte, err error)

// client is the Client of every framework. The framework's part makes a request of data once, and
// sends it repeatedly.
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
