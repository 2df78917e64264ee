package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport"
)

// allowed is how many bytes a server may take for a hostile message besides those that it was sent,
// its connection and what Kitex logs included.
const allowed = 64 << 10

// TestRole plays the server that another test attacks.
func TestRole(t *testing.T) {
	harness.Play(t, map[string]func(*testing.T, *harness.Role){"server": playServer})
}

// playServer serves with little memory: "ours" or "kitex" says whose codec reads.
func playServer(t *testing.T, r *harness.Role) {
	limitMemory(t)
	opts := []server.Option{server.WithReadWriteTimeout(readTimeout)}
	if r.Arguments[0] == "kitex" {
		opts = append(opts, server.WithSuite(transport.NewServerSuite(transport.WithKitexCodec()))) // the later suite wins
	}
	s := harness.Echo(t, harness.Kiteline, new(harness.Service), opts...)
	r.Say("%s", s.Addr)
	for words := r.Heard(); words != nil; words = r.Heard() {
		switch words[0] {
		case "allocated":
			r.Say("%d", allocated())
		case "live":
			r.Say("%d", harness.LiveHeap())
		}
	}
}

// allocated returns how many bytes this process has taken from its heap so far.
func allocated() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// victim is a server in a process of its own, and a client that calls it.
type victim struct {
	*harness.Child
	addr net.Addr
	call func() error
}

func newVictim(t *testing.T, codec string) *victim {
	t.Helper()
	v := &victim{Child: harness.StartChild(t, nil, "server", codec)}
	addr, err := net.ResolveTCPAddr("tcp", v.Hear(harness.Patience))
	if err != nil {
		t.Fatal(err)
	}
	cli := harness.EchoClient(t, harness.Kiteline, addr, client.WithRPCTimeout(harness.Patience))
	v.addr, v.call = addr, func() error { return harness.CallEcho(context.Background(), cli, 1) }
	if err := v.call(); err != nil {
		t.Fatal(err)
	}
	return v
}

// attack sends bytes a few times, each on a connection of its own, which has to end with an exception
// or without one; then a good call has to be answered. many says that the connection may go on.
func (v *victim) attack(t *testing.T, sent []byte, many bool) (answer []byte) {
	t.Helper()
	const times = 3
	before := v.AskNumber("allocated")
	for range times {
		var err error
		if answer, err = exchange(v.addr, sent, many); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(answer, []byte{0x80, 1, 0, reply}) {
			t.Errorf("answered with a reply: %q", answer)
		}
	}
	// Frames, and the buffers they came in.
	bound := int64(allowed + 4*len(sent))
	if took := (v.AskNumber("allocated") - before) / times; took > bound && !raceEnabled {
		t.Errorf("took %d bytes, want at most %d", took, bound)
	}
	if err := v.call(); err != nil {
		t.Fatalf("the next good call: %v", err)
	}
	return answer
}

// exchange sends bytes and returns what came back until the server closed the connection, or until
// something came if the connection may go on.
func exchange(addr net.Addr, sent []byte, many bool) ([]byte, error) {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(harness.Patience)); err != nil {
		return nil, err
	}
	_, _ = c.Write(sent) // it fails if the server has had enough
	var answer []byte
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		answer = append(answer, buf[:n]...)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, fmt.Errorf("the server neither answers nor closes; got %q", answer)
		case err != nil || many && n > 0:
			return answer, nil
		}
	}
}

// TestThrift attacks a server that has our codec, in every form that a message can have.
func TestThrift(t *testing.T) {
	v := newVictim(t, "ours")
	for _, form := range []struct {
		name    string
		of      func(message []byte) []byte
		many    bool
		answers bool // it is known where the message ends, so that its end is never waited for
	}{
		{"framed", framed, false, true},
		{"unframed", unframed, false, false},
		{"TTHeader", inTTHeader, false, true},
		{"framed in TTHeader", framedInTTHeader, false, true},
		{"multiplexed", multiplexed, true, true},
	} {
		t.Run(form.name, func(t *testing.T) {
			live := v.AskNumber("live")
			for _, m := range hostileMessages {
				t.Run(m.name, func(t *testing.T) {
					answer := v.attack(t, form.of(thriftMessage(call, "Echo", m.body(1))), form.many)
					if form.answers && !bytes.Contains(answer, []byte{0x80, 1, 0, exception}) {
						t.Errorf("got %q, want an exception", answer)
					}
				})
			}
			if growth := v.AskNumber("live") - live; growth > int64(len(hostileMessages)*allowed) {
				t.Errorf("the heap has grown by %d bytes", growth)
			}
		})
	}
	t.Run("framings", func(t *testing.T) {
		for _, f := range framings {
			t.Run(f.name, func(t *testing.T) { v.attack(t, f.sent, false) })
		}
	})
}

// A frame of the greatest length whose elements would take two hundred times of it in memory.
func TestThriftGrowth(t *testing.T) {
	v := newVictim(t, "ours")
	const n = 16_000_000
	v.attack(t, framed(thriftMessage(call, "Echo", inMessage(1, field(tList, 15, list(tStruct, n, zeros(n)...)...)))), false)
}

// TestThriftKitexCodec has Kitex's codec read: the transport's limit for messages holds all the same. What that
// codec takes for a method's name it takes before it reads.
func TestThriftKitexCodec(t *testing.T) {
	v := newVictim(t, "kitex")
	for _, f := range framings {
		switch f.name {
		case "frame of 2 GiB", "TTHeader of 2 GiB", "frame of 2 GiB in TTHeader":
			t.Run(f.name, func(t *testing.T) { v.attack(t, f.sent, false) })
		}
	}
	for name, sent := range map[string][]byte{
		"string of 1 GiB, framed":   cat(be32(1<<30+100), thriftMessage(call, "Echo", inMessage(1, field(tString, 7, be32(1<<30)...)))),
		"string of 1 GiB, unframed": thriftMessage(call, "Echo", inMessage(1, field(tString, 7, be32(1<<30)...))),
	} {
		t.Run(name, func(t *testing.T) { v.attack(t, sent, false) })
	}
}

// TestThriftStill has what a server is to take for a message still be one: the attacks are no better than the
// calls they are made of.
func TestThriftStill(t *testing.T) {
	v := newVictim(t, "ours")
	good := thriftMessage(call, "Echo", inMessage(1, field(tUUID, 99, zeros(16)...), nested(60), field(tBool, 1, 1)))
	for name, of := range map[string]func([]byte) []byte{
		"framed": framed, "unframed": unframed, "TTHeader": inTTHeader, "framed in TTHeader": framedInTTHeader, "multiplexed": multiplexed,
	} {
		answer, err := exchange(v.addr, of(good), true)
		if err != nil || !bytes.Contains(answer, []byte{0x80, 1, 0, reply}) {
			t.Errorf("%s: got %q, %v", name, answer, err)
		}
	}
}
