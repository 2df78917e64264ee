package chaos

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/conn"
)

// plainClient is a connection to a plainServer: one of package conn's, or one of Go's that shows
// what is on the wire.
type plainClient struct {
	w        *world
	identity uint64
	number   uint32
	own      *conn.Conn // nil: raw
	raw      net.Conn
	hasty    bool // its reads may time out
}

func (w *world) dialPlain(r *rand.Rand, s *plainServer) (*plainClient, error) {
	w.tally.dials.Add(1)
	c := &plainClient{w: w, identity: w.identities.Add(1) << 16}
	var err error
	if r.IntN(4) == 0 {
		c.raw, err = net.DialTimeout(s.network, s.address, patience)
		if err != nil {
			return nil, err
		}
		return c, c.raw.SetDeadline(time.Now().Add(patience))
	}
	timeout := patience
	if r.IntN(8) == 0 {
		timeout = time.Duration(1+r.IntN(500)) * time.Microsecond
	}
	c.own, err = w.dialer.DialTimeout(s.network, s.address, timeout)
	if err != nil {
		return nil, err
	}
	w.watch(c.own)
	w.clients.add(c.own)
	if err = c.own.AddCloseCallback(w.clients.remove); err != nil { // another worker has closed it
		w.clients.remove(c.own)
		return nil, err
	}
	return c, c.own.SetReadTimeout(patience)
}

func (c *plainClient) conn() net.Conn {
	if c.own != nil {
		return c.own
	}
	return c.raw
}

// exchange sends some frames at once and reads the answers. An error ends the connection.
func (c *plainClient) exchange(r *rand.Rand) error {
	var wire []byte
	var sent []header
	for range 1 + r.IntN(4) {
		c.number++
		h := header{doEcho, c.identity, c.number, frameLength(r)}
		if r.IntN(8) == 0 {
			h.action = action(r.IntN(int(actionsCount)))
		}
		wire = appendFrame(wire, h)
		sent = append(sent, h)
		if h.action != doEcho {
			break // an answer that comes later, or a close, comes last
		}
	}
	if c.own != nil && r.IntN(16) == 0 {
		c.hasty = true
		if err := c.own.SetReadTimeout(time.Duration(1+r.IntN(300)) * time.Microsecond); err != nil {
			return err
		}
	}
	if err := c.write(r, wire); err != nil {
		return err
	}
	for _, h := range sent {
		want := appendFrame(nil, h)
		got, err := c.read(r, len(want))
		if err != nil {
			return err
		}
		if h.action.ends() {
			c.w.tally.fault(misrouted, "a frame that is not answered was")
		}
		if !bytes.Equal(got, want) {
			c.w.tally.fault(misrouted, "a client got %.40x..., want %.40x...", got, want)
			return errMisrouted
		}
	}
	c.w.tally.exchanges.Add(1)
	return nil
}

var errMisrouted = errors.New("misrouted")

// frameLength returns a length that is mostly small.
func frameLength(r *rand.Rand) int {
	switch r.IntN(32) {
	case 0:
		return r.IntN(256 << 10)
	case 1, 2, 3:
		return r.IntN(16 << 10)
	}
	return r.IntN(1024)
}

func (c *plainClient) write(r *rand.Rand, wire []byte) error {
	if c.own == nil || r.IntN(2) == 0 {
		_, err := c.conn().Write(wire)
		return err
	}
	w := c.own.Writer()
	split := r.IntN(len(wire))
	p, err := w.Malloc(split)
	if err != nil {
		return err
	}
	copy(p, wire)
	if _, err := w.WriteBinary(wire[split:]); err != nil {
		return err
	}
	return w.Flush()
}

// read returns n bytes of its own memory.
func (c *plainClient) read(r *rand.Rand, n int) ([]byte, error) {
	p := make([]byte, n)
	if c.own == nil || r.IntN(2) == 0 {
		_, err := io.ReadFull(c.conn(), p)
		return p, err
	}
	in := c.own.Reader()
	defer func() { _ = in.Release() }()
	if r.IntN(2) == 0 {
		got, err := in.Next(n)
		copy(p, got)
		return p, err
	}
	part, err := in.Slice(n)
	if err != nil {
		return nil, err
	}
	if slice, ok := part.(io.Closer); ok {
		defer func() { _ = slice.Close() }()
	}
	got, err := part.Next(n)
	copy(p, got)
	return p, err
}

// end closes the connection in one of several ways.
func (c *plainClient) end(r *rand.Rand) {
	nc := c.conn()
	switch r.IntN(4) {
	case 0: // in the middle of a frame
		c.number++
		frame := appendFrame(nil, header{doEcho, c.identity, c.number, 100})
		_, _ = nc.Write(frame[:r.IntN(len(frame))])
	case 1: // by RST
		below := nc
		if c.own != nil {
			below = c.own.NetConn()
		}
		if tcp, ok := below.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	case 2: // half, where that is possible, and then by the server
		if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, nc)
		}
	}
	nc.Close()
}

// judge counts an unexpected error of a plain connection.
func (c *plainClient) judge(what string, err error) {
	var timeout net.Error
	switch {
	case errors.Is(err, errMisrouted):
	case !harness.IsTyped(err):
		c.w.tally.fault(untyped, "%s: %v", what, err)
	case !c.hasty && errors.As(err, &timeout) && timeout.Timeout():
		c.w.tally.fault(stuck, "%s of %x: %v", what, c.identity, err)
	}
}
