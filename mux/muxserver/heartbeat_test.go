package muxserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// beatInterval is the heartbeat in these tests, in a bubble's time.
const beatInterval = 8 * time.Second

// beatCase is a client that is looked after, and what becomes of it.
type beatCase struct {
	name    string
	config  Config
	client  func(p *testpeer.Client) // runs until the connection ends
	lives   time.Duration            // at most, from the client's last frame; 0: to the end
	asked   bool
	handled uint64
}

// answerPings is a client that only answers pings.
func answerPings(p *testpeer.Client) {
	for {
		r, err := p.Receive()
		if err != nil {
			return
		}
		if r.Signal == frame.SignalPing {
			if _, err := p.Write(testpeer.Control(frame.SignalPong)); err != nil {
				return
			}
		}
	}
}

func beatCases() []beatCase {
	hello := testpeer.Frame(1, frame.SignalHello, []byte("x"))
	deaf := func(p *testpeer.Client) { _, _ = io.Copy(io.Discard, p.In) }
	after := func(first []byte, then func(p *testpeer.Client)) func(p *testpeer.Client) {
		return func(p *testpeer.Client) {
			_, _ = p.Write(first)
			then(p)
		}
	}
	trickle := func(p *testpeer.Client) {
		go answerNothing(p)
		frame := testpeer.Frame(2, frame.SignalNone, make([]byte, 20))
		_, _ = p.Write(hello)
		for i := range frame { // 50 bytes, one in each interval but a little
			time.Sleep(beatInterval - beatInterval/8)
			_, _ = p.Write(frame[i : i+1])
		}
	}
	return []beatCase{
		{name: "silent", client: after(hello, deaf), lives: 2 * beatInterval, asked: true, handled: 1},
		{name: "answers", client: after(hello, answerPings), asked: true, handled: 1},
		{name: "stock", client: after(testpeer.Frame(1, frame.SignalNone, []byte("x")), deaf), handled: 1},
		{name: "never", client: after(hello, deaf), config: Config{Heartbeat: -1}, handled: 1},
		{name: "sends byte by byte", client: trickle, config: Config{ReadTimeout: -1}, asked: true, handled: 2},
		{
			name: "is not read", client: after(append(firstOneway(1), onewayFrame(2, []byte("x"))...), deaf),
			config: Config{MaxHandlersPerConn: 1, Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
				time.Sleep(10 * beatInterval)
				return echoHandler(ctx, call)
			})},
			lives: 22 * beatInterval, asked: true, handled: 2,
		},
		{
			name: "reads slowly", client: after(hello, func(p *testpeer.Client) {
				for b := make([]byte, 1<<10); ; time.Sleep(time.Second) {
					if _, err := p.Read(b); err != nil {
						return
					}
				}
			}),
			config: Config{WriteTimeout: time.Hour, Handler: handlerFunc(func(_ context.Context, call *Call) bool {
				return testpeer.Answer(call, make([]byte, 40<<10))
			})},
			lives: 8 * beatInterval, asked: true, handled: 1,
		},
	}
}

func answerNothing(p *testpeer.Client) { _, _ = io.Copy(io.Discard, p.In) }

// TestServerHeartbeats: a client that has gone without a word is found within two intervals, and no
// other client is ended.
func TestServerHeartbeats(t *testing.T) {
	for _, tc := range beatCases() {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tc.run(t) })
		})
	}
}

func (tc beatCase) run(t *testing.T) {
	failures := make(chan error, 10)
	cfg := tc.config
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = beatInterval
	}
	if cfg.Handler == nil {
		cfg.Handler = handlerFunc(echoHandler)
	}
	cfg.OnError = func(_ *conn.Conn, err error) { failures <- err }
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	if _, err := conn.New(theirs, conn.Config{OnRequest: srv.OnRequest}, nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ended := make(chan time.Time, 1)
	go func() {
		tc.client(testpeer.NewClient(ours))
		ended <- time.Now()
	}()
	const long = 45 * beatInterval
	select {
	case at := <-ended:
		if tc.lives == 0 && tc.name != "sends byte by byte" {
			t.Errorf("the connection ended after %v", at.Sub(began))
		}
		if lived := at.Sub(began); tc.lives != 0 && lived > tc.lives {
			t.Errorf("the connection ended after %v, want %v at most", lived, tc.lives)
		}
	case <-time.After(long):
		if tc.lives != 0 {
			t.Errorf("the connection lives after %v", long)
		}
	}
	synctest.Wait()
	st := srv.Stats()
	if st.Calls != tc.handled || st.Asked > 0 != tc.asked {
		t.Errorf("got %v, want %d calls, and questions: %v", st, tc.handled, tc.asked)
	}
	if tc.lives != 0 {
		select {
		case err := <-failures:
			if !errors.Is(err, ErrSilent) || st.Silent != 1 {
				t.Errorf("got %v and %v, want %v", err, st, ErrSilent)
			}
		default:
			t.Error("nobody was told why the connection ended")
		}
	}
	_ = srv.Close()
	ours.Close()
	synctest.Wait()
	time.Sleep(long) // so that a look that is left over would meet what has gone
	if st := srv.Stats(); st.Conns != 0 || st.InFlight != 0 {
		t.Errorf("left: %+v", st)
	}
}

// TestGone: OnGone's function is called once when a client has gone while its calls are handled.
func TestGone(t *testing.T) {
	for _, tc := range []struct {
		name  string
		sig   frame.Signal
		leave func(p *testpeer.Client, s *muxServer)
		is    bool // gone while the handler still runs
	}{
		{"reset", frame.SignalNone, func(p *testpeer.Client, _ *muxServer) { _ = p.Conn.(*net.TCPConn).SetLinger(0); p.Close() }, true},
		{"marked, closes", frame.SignalHello, func(p *testpeer.Client, _ *muxServer) { p.Close() }, true},
		{"marked, half-closes", frame.SignalHello, func(p *testpeer.Client, _ *muxServer) { _ = p.Conn.(*net.TCPConn).CloseWrite() }, true},
		{"stock, half-closes", frame.SignalNone, func(p *testpeer.Client, _ *muxServer) { _ = p.Conn.(*net.TCPConn).CloseWrite() }, false},
		{"server closes", frame.SignalNone, func(_ *testpeer.Client, s *muxServer) { _ = s.Close() }, true},
		{"no frame", frame.SignalNone, func(p *testpeer.Client, _ *muxServer) { _, _ = p.Write(make([]byte, 100)) }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			gone, began, release := make(chan struct{}, 10), make(chan struct{}), make(chan struct{})
			s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
				close(began)
				<-release
				return echoHandler(ctx, call)
			})})
			attach := func(sc *Conn) { sc.OnGone(func() { gone <- struct{}{} }) }
			s.attach.Store(&attach)
			p := s.Dial(t)
			p.Send(t, testpeer.Frame(1, tc.sig, binary.BigEndian.AppendUint16(nil, 0)))
			<-began
			tc.leave(p, s)
			if tc.is {
				testpeer.WaitFor(t, "the news", func() bool { return len(gone) > 0 })
			} else {
				<-time.After(20 * time.Millisecond) // it would come now
				if len(gone) > 0 {
					t.Error("gone although it may read")
				}
			}
			close(release)
			p.Close()
			testpeer.WaitFor(t, "the connection to end", func() bool { return s.Stats().Conns == 0 })
			if len(gone) != 1 {
				t.Errorf("told %d times, want once", len(gone))
			}
		})
	}
}
