package mux

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/conn"
)

// frameErrors are all names under which errors.As finds a frame error, and its fields by each.
func frameErrors(err error) (named map[string]frame.Error) {
	named = make(map[string]frame.Error)
	var client *FrameError
	if errors.As(err, &client) {
		named["mux"] = frame.Error(*client)
	}
	var server *muxserver.FrameError
	if errors.As(err, &server) {
		named["muxserver"] = frame.Error(*server)
	}
	return named
}

// wantFrameError fails the test unless both packages' names find err, with the same fields.
func wantFrameError(t *testing.T, err error, received bool) {
	t.Helper()
	named := frameErrors(err)
	if len(named) != 2 || named["mux"] != named["muxserver"] || named["mux"].Received != received || named["mux"].Reason == "" {
		t.Errorf("got %v, found as %+v", err, named)
	}
	var other *net.OpError
	if errors.As(err, &other) {
		t.Errorf("got %v, found as a *net.OpError", err)
	}
}

// withoutMagic is a frame of which the first bytes after the length are wrong.
func withoutMagic(id uint32) []byte {
	bad := testpeer.RequestFrame(id, nil)
	bad[4] = 0xff
	return bad
}

// malformed is a control frame whose header cannot be read.
func malformed() []byte {
	bad := testpeer.Control(frame.SignalPing)
	bad[frame.PrefixBytes+1] = 0xff // transforms that the header has no room for
	return bad
}

// TestFrameErrorOfCalls has calls fail because of frames, in each way. Both packages' FrameErrors
// find the reason, and it is this package's own.
func TestFrameErrorOfCalls(t *testing.T) {
	for name, tc := range map[string]struct {
		answer   func(id uint32) []byte // nil: none is wanted
		request  func(c *Call)          // nil: a good one
		received bool
	}{
		"no request":      {request: func(*Call) {}},
		"not whole":       {request: func(c *Call) { _, _ = c.Request().WriteBinary(make([]byte, 3)) }},
		"another's ID":    {request: func(c *Call) { _, _ = c.Request().WriteBinary(testpeer.RequestFrame(c.SeqID()+1, nil)) }},
		"too large":       {request: func(c *Call) { fill(c, make([]byte, 1000)) }},
		"bad header":      {request: func(c *Call) { _, _ = c.Request().WriteBinary(headless(c.SeqID())) }},
		"no magic":        {answer: withoutMagic, received: true},
		"bad control":     {answer: func(uint32) []byte { return malformed() }, received: true},
		"too large reply": {answer: func(id uint32) []byte { return testpeer.RequestFrame(id, make([]byte, 1000)) }, received: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &pipeDialer{serve: func(nc net.Conn, _ int) {
					if f, err := testpeer.NewServer(nc, false).ReceiveCall(); err == nil {
						_, _ = nc.Write(tc.answer(f.SeqID))
					}
					_, _ = io.Copy(io.Discard, nc)
				}}
				s := d.set(t, Config{MaxFrameBytes: 1000})
				c, err := s.Begin(t.Context(), time.Now().Add(testpeer.Patience))
				if err != nil {
					t.Fatal(err)
				}
				if tc.request != nil {
					tc.request(c)
				} else {
					fill(c, nil)
				}
				if err = c.Send(); err == nil {
					_, err = c.Receive()
				}
				wantFrameError(t, err, tc.received)
				failed, _ := err.(*Error)
				if _, own := failed.Err.(*FrameError); !own {
					t.Errorf("got %T, want *FrameError", failed.Err)
				}
				c.End()
			})
		})
	}
}

// headless is a request whose header cannot take a mark.
func headless(id uint32) []byte {
	bad := testpeer.RequestFrame(id, nil)
	binary.BigEndian.PutUint16(bad[12:], 2)
	return bad
}

// TestFrameErrorOfServer has a server meet bad frames in each way. Both packages' FrameErrors find
// what it tells of, and it is the server's own.
func TestFrameErrorOfServer(t *testing.T) {
	const most = 1000
	marked := testpeer.Frame(1, frame.SignalHello, nil)
	for name, tc := range map[string]struct {
		frames   []byte
		reply    func(call *muxserver.Call) bool
		received bool
	}{
		"too large":         {frames: testpeer.RequestFrame(1, make([]byte, 2*most)), received: true},
		"too large oneway":  {frames: slices.Concat(marked, onewayFrame(2, most)), received: true},
		"no magic":          {frames: withoutMagic(1), received: true},
		"bad control":       {frames: slices.Concat(marked, malformed()), received: true},
		"no reply in reply": {frames: marked, reply: func(call *muxserver.Call) bool { return len(testpeer.RequestPayload(call)) == 0 }},
		"reply to another":  {frames: marked, reply: func(call *muxserver.Call) bool { return testpeer.AnswerTo(call, call.SeqID()+1, nil) }},
		"too large a reply": {frames: marked, reply: func(call *muxserver.Call) bool { return testpeer.Answer(call, make([]byte, most)) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := make(chan error, 10)
				reply := tc.reply
				if reply == nil {
					reply = func(call *muxserver.Call) bool { return testpeer.Echo(call) }
				}
				srv := newServer(t, muxserver.Config{
					MaxFrameBytes: most,
					Handler:       answering(func(_ context.Context, call *muxserver.Call) bool { return reply(call) }),
					OnBadReply:    func(_ *muxserver.Call, err error) bool { told <- err; return false },
					OnTooLarge:    func(_ *muxserver.Call, err error) bool { told <- err; return false },
					OnError:       func(_ *conn.Conn, err error) { told <- err },
				})
				near, far := net.Pipe()
				serve := func(ctx context.Context, c *conn.Conn) error {
					err := srv.OnRequest(ctx, c)
					if err != nil {
						told <- err
					}
					return err
				}
				if _, err := conn.New(far, conn.Config{OnRequest: serve}, nil); err != nil {
					t.Fatal(err)
				}
				go func() { _, _ = io.Copy(io.Discard, near) }()
				_, _ = near.Write(tc.frames) // fails if the server does not want all of it
				err := <-told
				wantFrameError(t, err, tc.received)
				var own *muxserver.FrameError
				for ; err != nil && own == nil; err = errors.Unwrap(err) {
					own, _ = err.(*muxserver.FrameError)
				}
				if own == nil {
					t.Error("is not the server's own type")
				}
				near.Close()
				_ = srv.Close()
			})
		})
	}
}

// onewayFrame is a request flagged as having no reply.
func onewayFrame(id uint32, bytes int) []byte {
	whole := testpeer.RequestFrame(id, make([]byte, bytes))
	frame.SetOneway(whole)
	return whole
}
