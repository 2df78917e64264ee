package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/gopkg/protocol/ttheader"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/circuitbreak"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/transmeta"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/pool"
)

// refuser stands in front of a server that multiplexes. It refuses requests as refuse says, and
// passes the others on to the server.
type refuser struct {
	address string
	to      string
	refuse  func(frame []byte) bool // false for a connection's first request

	mu      sync.Mutex
	refused [][]byte // guarded by mu
	passed  [][]byte // guarded by mu
	cancels int      // guarded by mu
}

func newRefuser(t *testing.T, to string, refuse func(frame []byte) bool) *refuser {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &refuser{address: ln.Addr().String(), to: to, refuse: refuse}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.serve(nc) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return r
}

// nextFrame returns the next frame, and its sequence ID.
func nextFrame(in *bufio.Reader) (frame []byte, seqID uint32, err error) {
	length, err := in.Peek(4)
	if err != nil {
		return nil, 0, err
	}
	frame = make([]byte, 4+int(binary.BigEndian.Uint32(length)))
	if _, err := io.ReadFull(in, frame); err != nil {
		return nil, 0, err
	}
	return frame, binary.BigEndian.Uint32(frame[8:]), nil
}

func (r *refuser) serve(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	var writing sync.Mutex // of whole frames to the client
	var replying sync.WaitGroup
	defer replying.Wait()
	defer far.Close()
	replying.Go(func() {
		defer near.Close()
		in := bufio.NewReader(far)
		for {
			frame, _, err := nextFrame(in)
			if err != nil {
				return
			}
			writing.Lock()
			_, err = near.Write(frame)
			writing.Unlock()
			if err != nil {
				return
			}
		}
	})
	in := bufio.NewReader(near)
	for first := true; ; first = false {
		frame, seqID, err := nextFrame(in)
		if err != nil {
			return
		}
		if answer := r.decide(frame, seqID, first); answer != nil {
			writing.Lock()
			_, err = near.Write(answer)
			writing.Unlock()
		} else {
			_, err = far.Write(frame)
		}
		if err != nil {
			return
		}
	}
}

// decide returns the refusal of a request; nil if the request passes.
func (r *refuser) decide(frame []byte, seqID uint32, first bool) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case seqID == 0:
		if at := bytes.Index(frame, []byte(mux.InfoKey)); frame[at+len(mux.InfoKey)+2] == 'c' {
			r.cancels++
		}
	case !first && r.refuse(frame):
		r.refused = append(r.refused, frame)
		return refusalFrame(seqID)
	default:
		r.passed = append(r.passed, frame)
	}
	return nil
}

// refusalFrame returns the frame with which a server refuses a request for lack of room
// (mux/SPEC.md).
func refusalFrame(seqID uint32) []byte {
	value := binary.BigEndian.AppendUint32([]byte{'x', 5, 4}, seqID)
	value = append(value, 6, 1, 1, 0) // no room, and padding
	info := append([]byte{1, 0, 1, 0, 12}, mux.InfoKey...)
	info = binary.BigEndian.AppendUint16(info, uint16(len(value)))
	header := append(append([]byte{0, 0}, info...), value...)
	for len(header)%4 != 0 {
		header = append(header, 0)
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(10+len(header)))
	frame = append(frame, 0x10, 0, 0, 0, 0, 0, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(header)/4))
	return append(frame, header...)
}

// seen returns the requests that were refused, and those that the server got.
func (r *refuser) seen() (refused, passed [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refused), slices.Clone(r.passed)
}

// sameRequest returns how two requests differ apart from their sequence IDs; "" if they do not. A
// header has its infos in the order of Go's maps.
func sameRequest(a, b []byte) string {
	var parts [2]struct {
		param   ttheader.DecodeParam
		payload []byte
	}
	for i, frame := range [][]byte{a, b} {
		param, err := ttheader.DecodeFromBytes(context.Background(), frame)
		if err != nil {
			return err.Error()
		}
		seqID := frame[8:12]
		parts[i].payload = bytes.Replace(frame[param.HeaderLen:], seqID, []byte("seqn"), 1)
		param.SeqID = 0
		parts[i].param = param
	}
	switch {
	case !reflect.DeepEqual(parts[0].param, parts[1].param):
		return fmt.Sprintf("header %+v, and %+v", parts[0].param, parts[1].param)
	case !bytes.Equal(parts[0].payload, parts[1].payload):
		return fmt.Sprintf("payload %.200q, and %.200q", parts[0].payload, parts[1].payload)
	}
	return ""
}

// TestMuxRefusedCallIsMadeAgain has each call refused some times before the server gets it. The
// call ends like one that was not refused, is run once, sends the same each time, and looks like
// one call to tracers and breakers.
func TestMuxRefusedCallIsMadeAgain(t *testing.T) {
	const refusals, calls = 2, 8
	for name, opts := range map[string][]ClientOption{"our codec": nil, "Kitex's codec": {WithKitexCodec()}, "Kitex's timeouts": {WithKitexTimeouts()}} {
		t.Run(name, func(t *testing.T) {
			svc := startService(t, newTestGroup(t), &serviceFuncs{})
			left := map[string]int{} // by label: how often it is still refused
			r := newRefuser(t, svc.address, func(frame []byte) bool {
				at := bytes.Index(frame, []byte("label-"))
				if at < 0 {
					return false
				}
				label := string(frame[at : at+8])
				if _, known := left[label]; !known {
					left[label] = refusals
				}
				left[label]--
				return left[label] >= 0
			})
			events := &eventLog{}
			breakers := circuitbreak.NewCBSuite(circuitbreak.RPCInfo2Key)
			// One connection has one first request.
			opts = append(opts, WithGroup(newTestGroup(t)), WithMux(pool.MuxConfig{MaxConns: 1}))
			c, o := newEcho(t, r.address, client.WithSuite(NewMuxClientSuite(opts...)), client.WithTracer(events),
				client.WithMetaHandler(transmeta.ClientTTHeaderHandler), client.WithMetaHandler(transmeta.MetainfoClientHandler),
				client.WithCircuitBreaker(breakers), client.WithRPCTimeout(patience))
			keep(t, c)
			share(t, c, o.RemoteOpt.ConnPool.(*pool.Mux))
			ctx := metainfo.WithPersistentValue(metainfo.WithValue(context.Background(), "T", "transient"), "P", "persistent")
			var making sync.WaitGroup
			for i := range calls {
				making.Go(func() {
					label := fmt.Sprintf("label-%02d", i)
					sent := &echo.Payload{Label: label, Data: bytes.Repeat([]byte{byte(i)}, i*3000)}
					got, err := c.EchoPayload(ctx, sent)
					if err != nil || got.Label != label || !bytes.Equal(got.Data, sent.Data) {
						t.Errorf("got %s, %v", labelOf(got), err)
					}
				})
			}
			making.Wait()
			checkAgain(t, r, refusals)
			st := onlyStats(t, o.RemoteOpt.ConnPool.(*pool.Mux))
			if st.Refused != refusals*calls || st.InFlight+st.Abandoned+st.Waiting > 0 {
				t.Errorf("got %+v", st)
			}
			if n := len(events.list()); n != calls+1 {
				t.Errorf("a tracer saw %d calls, want %d", n, calls+1)
			}
		})
	}
}

// list returns the recorded events.
func (l *eventLog) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// checkAgain checks that each request was refused as often as it should have been and passed once,
// always with the same content.
func checkAgain(t *testing.T, r *refuser, refusals int) {
	t.Helper()
	refused, passed := r.seen()
	for _, p := range passed {
		at := bytes.Index(p, []byte("label-"))
		if at < 0 {
			continue
		}
		times := 0
		for _, f := range refused {
			if !bytes.Contains(f, p[at:at+8]) {
				continue
			}
			times++
			if other := sameRequest(p, f); other != "" {
				t.Errorf("sent again it has another %s", other)
			}
		}
		if times != refusals {
			t.Errorf("%s was refused %d times, want %d", p[at:at+8], times, refusals)
		}
	}
	if len(refused) != refusals*(len(passed)-1) {
		t.Errorf("%d requests were refused, %d passed", len(refused), len(passed))
	}
}

// TestMuxRefusedInTime calls a server that refuses every call. The call fails when its time is
// over, or at once with FailFast. Its error says so, and breakers ignore it or take it for a
// timeout.
func TestMuxRefusedInTime(t *testing.T) {
	for _, policy := range []mux.Overload{mux.WaitForRoom, mux.FailFast} {
		t.Run(policy.String(), func(t *testing.T) {
			l := captureLogs(t)
			svc := startService(t, newTestGroup(t), &serviceFuncs{})
			r := newRefuser(t, svc.address, func(frame []byte) bool { return bytes.Contains(frame, []byte("refused")) })
			c, conns := newSharedClient(t, r.address, pool.MuxConfig{MaxConns: 1, Overload: policy})
			share(t, c, conns)
			const timeout, calls = 50 * time.Millisecond, 5
			for n := range calls {
				_, err := c.Find(context.Background(), "refused", callopt.WithRPCTimeout(timeout))
				var failed *mux.Error
				if !errors.As(err, &failed) || !failed.NotSent() || n == 0 && !errors.Is(err, mux.ErrRefused) {
					t.Fatalf("got %v", err)
				}
				if !errors.Is(err, mux.ErrRefused) && !errors.Is(err, mux.ErrOverloaded) && policy == mux.FailFast {
					t.Errorf("got %v", err) // a later call may see an earlier refusal
				}
				if late := kerrors.IsTimeoutError(err); late != (policy == mux.WaitForRoom) || errors.Is(err, kerrors.ErrGetConnection) {
					t.Errorf("got %v", err)
				}
				var ended *CallError
				if policy == mux.WaitForRoom && (!errors.As(err, &ended) || !ended.NotSent()) {
					t.Errorf("got %v, want a call that was not sent", err)
				}
				var aware circuitbreak.CircuitBreakerAwareError
				if policy == mux.FailFast && (!errors.As(err, &aware) || aware.TypeForCircuitBreaker() != circuitbreak.TypeIgnorable) {
					t.Errorf("got %v, want one that breakers ignore", err)
				}
			}
			if refused, _ := r.seen(); policy == mux.FailFast && len(refused) > calls {
				t.Errorf("%d requests were refused, of %d", len(refused), calls)
			}
			if n := l.lines("KITELINE: call refused"); n == 0 || n > mostLines {
				t.Errorf("%d lines in the log", n)
			}
			if st := onlyStats(t, conns); st.InFlight+st.Abandoned+st.Waiting > 0 {
				t.Errorf("got %+v", st)
			}
			eventually(t, "a call after them", func() bool {
				got, err := c.Find(context.Background(), "x")
				return err == nil && got.Text == "x"
			})
		})
	}
}

// TestMuxCancelTravels: the server is told of a call whose time is over, and the call's place is
// free when the server has answered.
func TestMuxCancelTravels(t *testing.T) {
	service := newHeldService()
	svc := startService(t, newTestGroup(t), service)
	free := sync.OnceFunc(func() { close(service.release) })
	t.Cleanup(free)
	r := newRefuser(t, svc.address, func([]byte) bool { return false })
	c, conns := newSharedClient(t, r.address, pool.MuxConfig{MaxConns: 1})
	share(t, c, conns)
	f := &muxFixture{client: c, pool: conns, service: service}
	ctx, cancel := context.WithCancel(context.Background())
	held := f.held(ctx, t)
	cancel()
	if err := receive(t, "cancelled call", held); err == nil {
		t.Error("it has a reply")
	}
	eventually(t, "a cancel", func() bool { return onlyStats(t, conns).Cancels == 1 })
	free()
	eventually(t, "the answer", func() bool { return onlyStats(t, conns).Abandoned == 0 })
	if r.cancelled() != 1 {
		t.Error("no cancel has come")
	}
}

func (r *refuser) cancelled() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cancels
}
