package muxserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"testing"
	"testing/synctest"

	"github.com/cloudwego/gopkg/protocol/ttheader"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// helloMarks are first requests. Only one with a mark of its own makes the server say hello.
func helloMarks(t *testing.T) map[string]struct {
	first []byte
	hello bool
} {
	t.Helper()
	marked := testpeer.Frame(7, frame.SignalHello, []byte("payload"))
	copied := bytes.Clone(marked)
	binary.BigEndian.PutUint32(copied[8:], 8) // another request has the mark now
	among := testpeer.StockFrame(t, ttheader.EncodeParam{SeqID: 7, Flags: 1, StrInfo: map[string]string{
		"kiteline-mux": "h\x05\x04\x00\x00\x00\x09", "k": "v",
	}}, []byte("payload"))
	return map[string]struct {
		first []byte
		hello bool
	}{
		"marked": {marked, true},
		"copied": {copied, false},
		"among":  {among, false},
		"stock":  {testpeer.Frame(7, frame.SignalNone, []byte("payload")), false},
	}
}

// TestHelloBeforeThePayload: the hello comes as soon as the header of the first marked request is
// there, before its payload and whatever the handler does, with the server's limits. It comes once,
// and to no other client. Handlers see no mark, not even a copy, and no oneway flag.
func TestHelloBeforeThePayload(t *testing.T) {
	for name, tc := range helloMarks(t) {
		for cut := range 2 {
			t.Run(name, func(t *testing.T) {
				seen := make(chan ttheader.DecodeParam, 2)
				release := make(chan struct{})
				s := startMuxServer(t, "tcp", Config{
					MaxHandlersPerConn: 77, MaxFrameBytes: 5000,
					Handler: handlerFunc(func(_ context.Context, call *Call) bool {
						whole, err := call.Request().Peek(call.Request().Len())
						if err != nil {
							t.Error(err)
						}
						param, err := ttheader.DecodeFromBytes(context.Background(), whole)
						if err != nil || bytes.Contains(whole, []byte("kiteline-mux")) {
							t.Errorf("the handler got %q, %v", whole, err)
						}
						seen <- param
						<-release
						return testpeer.Answer(call, testpeer.RequestPayload(call))
					}),
				})
				p := s.Dial(t)
				early := len(tc.first) - cut*len("payload") // none of the payload has come, or all
				p.Send(t, tc.first[:early])
				if tc.hello {
					hello := p.ReceiveHello(t)
					if hello.Version != frame.Version || hello.Places != 77 || hello.Frame != 5000 {
						t.Errorf("got %+v", hello)
					}
				}
				second := testpeer.RequestFrame(10, []byte("second"))
				frame.SetOneway(second)
				p.Send(t, tc.first[early:], second)
				flags := ttheader.HeaderFlags(frame.FlagAnyOrder)
				for range 2 {
					got := <-seen
					if wantOneway := got.SeqID == 10 && !tc.hello; got.Flags != flags && !wantOneway {
						t.Errorf("request %d has flags %#x", got.SeqID, got.Flags)
					}
				}
				close(release)
				replies := 2
				if tc.hello {
					replies = 1 // the other one is a oneway then, whatever its handler answers
				}
				for range replies {
					if r := p.MustReceive(t); r.IsControl() || r.Signal != frame.SignalNone {
						t.Errorf("got %+v", r)
					}
				}
				if (p.Hello.Signal == frame.SignalHello) != tc.hello {
					t.Errorf("got %+v", p.Hello)
				}
				if st := s.Stats(); st.MarkedConns != map[bool]int64{true: 1}[tc.hello] {
					t.Errorf("got %+v", st)
				}
			})
		}
	}
}

// TestHelloWaitsForTheHeader sends a marked request byte by byte: there is no hello before the
// header is whole, and one as soon as it is.
func TestHelloWaitsForTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := New(Config{Handler: handlerFunc(echoHandler)})
		if err != nil {
			t.Fatal(err)
		}
		p := testpeer.NewClient(serveIdle(t, srv))
		defer p.Close()
		whole := testpeer.Frame(7, frame.SignalHello, []byte("payload"))
		header := len(whole) - len("payload")
		got := make(chan testpeer.Received, 4)
		go func() {
			for {
				r, err := testpeer.Receive(p.In)
				if err == io.EOF || err != nil {
					close(got)
					return
				}
				got <- r
			}
		}()
		for i := range whole {
			p.Send(t, whole[i:i+1])
			synctest.Wait()
			want := 0
			switch sent := i + 1; {
			case sent == len(whole):
				want = 2
			case sent >= header:
				want = 1
			}
			if len(got) != want {
				t.Fatalf("after %d bytes of %d: %d frames, want %d", i+1, len(whole), len(got), want)
			}
		}
		if r := <-got; !r.IsControl() || r.Signal != frame.SignalHello {
			t.Errorf("got %+v, want hello", r)
		}
	})
}
