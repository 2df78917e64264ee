package mux

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestFailedCallsMemoryIsFree changes memory that was lent to a short request after its call has
// failed, just before the connection is closed: what is left of the frame is still what was sent.
func TestFailedCallsMemoryIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		s := NewSet(Config{MaxConns: 1, Dial: func(context.Context) (*conn.Conn, error) {
			return conn.New(near, conn.Config{}, nil)
		}})
		go func() {
			testpeer.NewConnected(far)
		}()
		connect(t, s)
		send := func(n int) (*Call, []byte) {
			c := mustBegin(t, s)
			p, err := c.Request().Malloc(frame.PrefixBytes + 4)
			if err != nil {
				t.Fatal(err)
			}
			testpeer.AppendPrefix(p[:0], c.SeqID(), n)
			memory := make([]byte, n)
			if err := c.Request().WriteDirect(memory, 0); err != nil {
				t.Fatal(err)
			}
			if err := c.Send(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return c, memory
		}
		const head, long, short = frame.PrefixBytes + 4, 64<<10 - 1024, 3000
		send(1000) // is being written, so that the next two leave in one batch
		send(long)
		c, memory := send(short)
		if _, err := io.ReadFull(far, make([]byte, head+1000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the second and a part of the third are gathered, and being written

		cc := c.conn
		cc.mu.Lock() // as in clientConn.fail, before it closes the connection
		cc.places.calls.take(c.seqID)
		cc.roles.settle(c, callFailed)
		cc.mu.Unlock()
		c.End()
		for i := range memory {
			memory[i] = 0xff
		}

		rest := make([]byte, head+long+head+short)
		if _, err := io.ReadFull(far, rest); err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(rest[len(rest)-short:], 0xff) >= 0 {
			t.Error("the peer got what was put into the memory after the call had ended")
		}
		_ = s.Close()
		far.Close()
	})
}
