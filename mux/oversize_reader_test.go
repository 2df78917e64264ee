package mux

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestOversizeFailsItsReader has a peer announce a reply that is too large, and stop. The call,
// which reads itself and has no deadline, fails when the length has been read, although nothing
// else comes.
func TestOversizeFailsItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			p := testpeer.NewConnected(nc)
			second, _ := p.ReceiveCall()
			frame := testpeer.RequestFrame(second.SeqID, nil)
			binary.BigEndian.PutUint32(frame, 1<<32-1)
			_, _ = nc.Write(frame)
			_, _ = io.Copy(io.Discard, nc)
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		began := time.Now()
		_, err := roundTrip(t.Context(), s, nil, time.Hour)
		var bad *FrameError
		if took := time.Since(began); !errors.As(err, &bad) || took > 0 {
			t.Errorf("got %v after %v, want a FrameError at once", err, took)
		}
	})
}

// TestOversizeBehindReply has the reply to one call come together with the beginning of another
// call's reply that is too large: the first call has its reply at once.
func TestOversizeBehindReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			p := testpeer.NewConnected(nc)
			one, _ := p.ReceiveCall()
			other, _ := p.ReceiveCall()
			large := testpeer.RequestFrame(other.SeqID, nil)
			binary.BigEndian.PutUint32(large, 1<<32-1)
			_, _ = nc.Write(append(testpeer.RequestFrame(one.SeqID, []byte("mine")), large...))
			_, _ = io.Copy(io.Discard, nc)
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		one, err := s.Begin(t.Context(), time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		mustSend(t, one, nil)
		done := make(chan error)
		began := time.Now()
		go func() {
			_, err := one.Receive()
			done <- err
		}()
		synctest.Wait() // it reads
		other := mustBegin(t, s)
		mustSend(t, other, nil)
		if err := <-done; err != nil || time.Since(began) > 0 {
			t.Errorf("got %v after %v, want the reply at once", err, time.Since(began))
		}
		one.End()
		other.End()
	})
}
