package mux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestFailFastAfterPeerClosed has a peer close an idle connection, the only one allowed. A call
// made then, with nothing in flight anywhere, does not fail because of a limit.
func TestFailFastAfterPeerClosed(t *testing.T) {
	s := newTestSet(t, Config{MaxConns: 1, Overload: FailFast, Dial: loopback(t, testGroup(t), func(nc net.Conn) {
		defer nc.Close()
		p := testpeer.NewServer(nc, true)
		for range 3 {
			f, err := p.ReceiveCall()
			if err != nil || p.Reply(f.SeqID, nil) != nil {
				return
			}
		}
	})})
	for range 300 {
		if _, err := roundTrip(t.Context(), s, nil, 0); errors.Is(err, ErrOverloaded) {
			t.Fatalf("got %v, and there was no other call", err)
		}
	}
}

// TestAnsweredBeforeSent has a peer answer a request that it has not read, and of which nothing was
// sent: memory linked into the request is the caller's again when the call has ended.
func TestAnsweredBeforeSent(t *testing.T) {
	const size = 64 << 10
	synctest.Test(t, func(t *testing.T) {
		early, read := make(chan uint32), make(chan struct{})
		var got []byte
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			p := testpeer.NewConnected(nc)
			_ = p.Reply(<-early, nil)
			<-read
			for {
				f, err := p.ReceiveCall()
				if err != nil {
					return
				}
				if len(f.Payload) == size {
					got = f.Payload
				}
			}
		}}
		s := NewSet(Config{MaxConns: 1, Dial: d.dial})
		connect(t, s)
		large := mustBegin(t, s)
		fill(large, make([]byte, 1<<20))
		if err := large.SendOneway(); err != nil { // which the peer does not read
			t.Fatal(err)
		}
		c := mustBegin(t, s)
		payload := bytes.Repeat([]byte{1}, size)
		mustSend(t, c, payload)
		early <- c.SeqID()
		if _, err := c.Receive(); err != nil {
			t.Fatal(err)
		}
		c.End()
		large.End()
		clear(payload)
		close(read)
		synctest.Wait()
		_ = s.Close()
		d.wg.Wait()
		if got != nil && !bytes.Equal(got, bytes.Repeat([]byte{1}, size)) {
			t.Error("the peer read memory of a call that had ended")
		}
	})
}

// TestDeadlineAmongFrames has a call without an answer on a connection on which frames come all the
// time: it ends in its time.
func TestDeadlineAmongFrames(t *testing.T) {
	pongs := strings.Repeat(string(testpeer.Control(frame.SignalPong)), 1000)
	s := newTestSet(t, Config{MaxConns: 1, Dial: loopback(t, testGroup(t), func(nc net.Conn) {
		defer nc.Close()
		p := testpeer.NewServer(nc, true)
		first, err := p.ReceiveCall()
		if err != nil || p.Reply(first.SeqID, nil) != nil {
			return
		}
		for {
			if _, err := io.WriteString(nc, pongs); err != nil {
				return
			}
		}
	})})
	connect(t, s)
	for range 5 {
		began := time.Now()
		_, err := roundTrip(t.Context(), s, nil, 50*time.Millisecond)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("got %v after %v", err, took)
		}
	}
}
