//go:build !nopoller

package useafterclose

import (
	"bytes"
	"context"
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// pair returns the two ends of a TCP connection.
func pair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if ours, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if theirs, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// userConn is a connection that its user reads, and that has bytes to read.
func userConn(t *testing.T, g *conn.Group) (*conn.Conn, net.Conn) {
	t.Helper()
	ours, theirs := pair(t)
	c, err := conn.New(ours, conn.Config{}, g)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Write(bytes.Repeat([]byte("x\n"), 32)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); theirs.Close() })
	return c, theirs
}

// endsOf are the ways in which a connection ends. Its other activity may delay a timeout or take
// the end of the stream, so they are awaited and tried again.
func endsOf(c *conn.Conn, peer net.Conn) map[string]func() {
	return map[string]func(){
		byUs:  func() { c.Close() },
		byFIN: func() { peer.Close(); awaitEnd(c) },
		byRST: func() {
			if tcp, ok := peer.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // it is open
			}
			peer.Close()
			awaitEnd(c)
		},
		byTimeout: func() {
			tries := 0
			poll(func() bool {
				if tries%20 == 0 { // the time begins again each time
					_ = c.SetReadDeadline(time.Unix(1, 0)) // fails if the connection is closed
					_ = c.SetIdleTimeout(time.Millisecond)
				}
				tries++
				// Its error is known a moment before its socket is closed. Calls that come after
				// the end wait for the close.
				return c.Err() != nil && c.SetWriteDeadline(time.Time{}.Add(1)) != nil
			})
		},
	}
}

func awaitEnd(c *conn.Conn) { poll(func() bool { return !c.IsActive() }) }

// skipInHandlerOnly are methods that only a running OnRequest may call: see TestConnInHandler.
var skipInHandlerOnly = map[string]string{
	"Offer": "in OnRequest only", "HandOff": "in OnRequest only", "Pause": "in OnRequest only",
	"BeginWork": inPairs, "EndWork": inPairs,
}

const inPairs = "the one follows the other: see TestWork"

// ended are the ends after which a method fails that needs this side open.
const ended = byUs + " " + byTimeout

const always = byUs + " " + byFIN + " " + byRST + " " + byTimeout

// TestConn is the matrix of a connection that its user holds.
func TestConn(t *testing.T) {
	g := group(t)
	kind{
		name: "conn", ends: allEnds, skip: skipInHandlerOnly,
		open: func(t *testing.T) *subject {
			c, peer := userConn(t, g)
			return &subject{value: c, ends: endsOf(c, peer)}
		},
		fails: map[string]string{
			"Read": ended, "Write": ended, "AddCloseCallback": ended, "SetIdleTimeout": ended, "SetOnRequest": ended,
			"SetReadDeadline": ended, "SetWriteDeadline": ended, "SetDeadline": ended,
		},
	}.matrix(t)
}

// TestConnReader is the matrix of its Reader.
func TestConnReader(t *testing.T) {
	g := group(t)
	kind{
		name: "Reader", ends: allEnds,
		skip: map[string]string{ // methods that a LinkBuffer has besides a Reader's
			"Bind": ownersOnly, "Commit": ownersOnly, "Discard": ownersOnly, "Reserve": ownersOnly, "Append": writers, "Flush": writers,
			"Malloc": writers, "MallocAck": writers, "MallocLen": writers, "WriteBinary": writers, "WriteByte": writers,
			"WriteDirect": writers, "WriteString": writers, "Link": writers, "Close": ownersOnly,
		},
		open: func(t *testing.T) *subject {
			c, peer := userConn(t, g)
			return &subject{value: c.Reader(), ends: endsOf(c, peer)}
		},
	}.matrix(t)
}

const (
	ownersOnly = "for whoever fills or empties a buffer, which is the connection here"
	writers    = "of a Writer"
	readers    = "of a Reader"
)

// TestConnWriter is the matrix of its Writer.
func TestConnWriter(t *testing.T) {
	g := group(t)
	kind{
		name: "Writer", ends: allEnds,
		skip: map[string]string{
			"Bind": ownersOnly, "Commit": ownersOnly, "Discard": ownersOnly, "Reserve": ownersOnly, "First": ownersOnly, "Gather": ownersOnly,
			"Close": ownersOnly, "Next": readers, "Peek": readers, "Skip": readers, "Until": readers, "ReadString": readers,
			"ReadBinary": readers, "ReadByte": readers, "ReadFrame": readers, "AwaitFrame": readers, "TrustsFrame": readers, "Slice": readers, "Release": readers, "Len": readers,
		},
		open: func(t *testing.T) *subject {
			c, peer := userConn(t, g)
			if _, err := c.Writer().WriteString("to be flushed"); err != nil {
				t.Fatal(err)
			}
			return &subject{value: c.Writer(), ends: endsOf(c, peer)}
		},
	}.matrix(t)
}

// netpollArgs are the special arguments of netpoll's methods.
var netpollArgs = map[reflect.Type]any{reflect.TypeFor[netpoll.Writer](): func() netpoll.Writer { return netpoll.NewLinkBuffer() }}

// TestNetpollConn is the matrix of a connection as one of netpoll's, and of its Reader and Writer.
func TestNetpollConn(t *testing.T) {
	g := group(t)
	for name, part := range map[string]func(c *netpollconn.Conn) any{
		"Conn":   func(c *netpollconn.Conn) any { return c },
		"Reader": func(c *netpollconn.Conn) any { return c.Reader() },
		"Writer": func(c *netpollconn.Conn) any { return c.Writer() },
	} {
		t.Run(name, func(t *testing.T) {
			k := kind{name: "netpoll " + name, ends: allEnds, open: func(t *testing.T) *subject {
				c, peer := userConn(t, g)
				return &subject{value: part(netpollconn.Of(c)), ends: endsOf(c, peer), args: netpollArgs}
			}}
			if name == "Conn" {
				k.skip = skipInHandlerOnly
				k.fails = map[string]string{"Read": ended, "Write": ended, "AddCloseCallback": ended, "SetIdleTimeout": ended, "SetOnRequest": ended}
			}
			k.matrix(t)
		})
	}
}

// handler is a connection whose OnRequest runs the calls that it is sent.
type handler struct {
	c     *conn.Conn
	peer  net.Conn
	calls chan func()
	done  chan struct{}
}

func openHandler(t *testing.T, g *conn.Group) *handler {
	ours, peer := pair(t)
	h := &handler{peer: peer, calls: make(chan func()), done: make(chan struct{})}
	entered := make(chan struct{}, 64)
	var err error
	h.c, err = conn.New(ours, conn.Config{OnRequest: func(context.Context, *conn.Conn) error {
		entered <- struct{}{}
		for {
			select {
			case f := <-h.calls:
				f()
			case <-h.done:
				return errors.New("enough") // after HandOff it may no longer read
			}
		}
	}}, g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(h.done)
		h.c.Close()
		peer.Close()
		<-h.gone()
	})
	if _, err := peer.Write(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	<-entered
	return h
}

// gone is closed when the connection is.
func (h *handler) gone() <-chan struct{} {
	gone := make(chan struct{})
	if h.c.AddCloseCallback(func(*conn.Conn) { close(gone) }) != nil {
		close(gone)
	}
	return gone
}

// run runs a call in OnRequest.
func (h *handler) run(call func()) {
	done := make(chan struct{})
	h.calls <- func() { defer close(done); call() }
	<-done
}

// TestConnInHandler is the matrix of a connection whose OnRequest makes the calls.
func TestConnInHandler(t *testing.T) {
	g := group(t)
	kind{
		name: "conn in OnRequest", ends: []string{byUs, byFIN, byRST}, once: true,
		skip: map[string]string{"BeginWork": inPairs, "EndWork": inPairs},
		open: func(t *testing.T) *subject {
			h := openHandler(t, g)
			return &subject{value: h.c, ends: endsOf(h.c, h.peer), inner: h.run}
		},
		fails: map[string]string{"Write": byUs, "SetIdleTimeout": byUs},
	}.matrix(t)
}

// TestWork begins and ends work around the end.
func TestWork(t *testing.T) {
	g := group(t)
	t.Parallel()
	for _, end := range allEnds {
		for range rounds() {
			c, peer := userConn(t, g)
			s := &subject{ends: endsOf(c, peer)}
			if end == byTimeout {
				s.end(t, end)
			} else if !c.BeginWork() {
				t.Fatal("an open connection takes no work")
			} else {
				done := make(chan struct{})
				go func() { defer close(done); c.EndWork() }()
				s.end(t, end)
				<-done
			}
			if c.BeginWork() {
				c.EndWork()
			} else if end == byFIN || end == byRST {
				t.Errorf("by %s: this side has not closed, and takes no work", end)
			}
		}
	}
}
