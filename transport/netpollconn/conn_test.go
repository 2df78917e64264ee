//go:build !windows

package netpollconn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// contract is what netpoll's connection and ours do alike.
var contract = []struct {
	name  string
	check func(t *testing.T, c netpoll.Connection, peer *net.TCPConn)
}{
	{"reader methods", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		send(t, peer, "0123456789line\nrest")
		r := c.Reader()
		for _, tc := range []struct {
			name string
			read func() (string, error)
			want string
		}{
			{"Peek", func() (string, error) { p, err := r.Peek(4); return string(p), err }, "0123"},
			{"Next", func() (string, error) { p, err := r.Next(2); return string(p), err }, "01"},
			{"Skip", func() (string, error) { return "", r.Skip(2) }, ""},
			{"ReadByte", func() (string, error) { b, err := r.ReadByte(); return string(b), err }, "4"},
			{"ReadString", func() (string, error) { return r.ReadString(2) }, "56"},
			{"ReadBinary", func() (string, error) { p, err := r.ReadBinary(3); return string(p), err }, "789"},
			{"Until", func() (string, error) { p, err := r.Until('\n'); return string(p), err }, "line\n"},
			{"Next of nothing", func() (string, error) { p, err := r.Next(0); return string(p), err }, ""},
		} {
			if got, err := tc.read(); err != nil || got != tc.want {
				t.Errorf("%s: got %q, %v, want %q", tc.name, got, err, tc.want)
			}
		}
		testkit.Must(t, r.Release())
		if r.Len() != 4 {
			t.Errorf("Len: got %d, want 4", r.Len())
		}
	}},
	{"writer methods", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		w := c.Writer()
		large := strings.Repeat("L", 10_000)
		p, err := w.Malloc(6)
		testkit.Must(t, err)
		_, err = w.WriteString("string ")
		testkit.Must(t, err)
		_, err = w.WriteBinary([]byte(large))
		testkit.Must(t, err)
		testkit.Must(t, w.WriteByte('!'))
		copy(p, "first ") // filled in later
		tail, err := w.Malloc(10)
		testkit.Must(t, err)
		copy(tail, "abcde.....")
		testkit.Must(t, w.WriteDirect([]byte(large), 8)) // after "ab"
		want := "first string " + large + "!ab" + large + "cde"
		testkit.Must(t, w.MallocAck(len(want)))
		if w.MallocLen() != len(want) {
			t.Errorf("MallocLen: got %d, want %d", w.MallocLen(), len(want))
		}
		testkit.Must(t, w.Flush())
		if w.MallocLen() != 0 {
			t.Errorf("MallocLen after Flush: got %d", w.MallocLen())
		}
		wantBytes(t, peer, want)
	}},
	{"Slice outlives the reader's progress", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		send(t, peer, "slicedrest")
		r := c.Reader()
		s, err := r.Slice(6)
		testkit.Must(t, err)
		if s.Len() != 6 || r.Len() > 4 {
			t.Errorf("Len: got %d and %d", s.Len(), r.Len())
		}
		done := make(chan string, 1)
		moved := make(chan struct{})
		go func() {
			<-moved
			p, err := s.Next(6)
			text := string(p)
			err = errors.Join(err, s.Release())
			if closer, ok := s.(io.Closer); !ok || errors.Join(err, closer.Close()) != nil {
				text += " and no end"
			}
			done <- text
		}()
		if p, err := r.Next(4); err != nil || string(p) != "rest" {
			t.Errorf("the rest: got %q, %v", p, err)
		}
		testkit.Must(t, r.Release())
		send(t, peer, strings.Repeat("x", 8192))
		testkit.Must(t, r.Skip(8192))
		testkit.Must(t, r.Release())
		close(moved)
		if got := testkit.Receive(t, "slice", done); got != "sliced" {
			t.Errorf("got %q", got)
		}
	}},
	{"Slice ends where it ends", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		send(t, peer, "slicedrest")
		s, err := c.Reader().Slice(6)
		testkit.Must(t, err)
		if _, err := s.Next(7); err == nil {
			t.Error("read more than the slice has")
		}
		testkit.Must(t, s.(io.Closer).Close())
	}},
	{"Slice that the peer's close cuts short", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		send(t, peer, "half")
		peer.Close()
		if _, err := c.Reader().Slice(8); !errors.Is(err, netpoll.ErrEOF) {
			t.Errorf("got %v, want ErrEOF", err)
		}
		wantString(t, c.Reader(), "half")
	}},
	{"waits for half a packet", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		send(t, peer, "half")
		got := make(chan string, 1)
		go func() {
			p, _ := c.Reader().Next(8)
			got <- string(p)
		}()
		send(t, peer, "full")
		if s := testkit.Receive(t, "Next", got); s != "halffull" {
			t.Errorf("got %q", s)
		}
	}},
	{"reads after the peer's close what came before", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		send(t, peer, "before")
		if _, err := c.Reader().Peek(6); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		testkit.Eventually(t, "it is not active", func() bool { return !c.IsActive() })
		if p, err := c.Reader().Next(6); err != nil || string(p) != "before" {
			t.Errorf("got %q, %v", p, err)
		}
		if _, err := c.Reader().Next(1); !errors.Is(err, netpoll.ErrEOF) {
			t.Errorf("got %v, want ErrEOF", err)
		}
	}},
	{"Until without its delimiter", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		send(t, peer, "no newline")
		peer.Close()
		p, err := c.Reader().Until('\n')
		if string(p) != "no newline" || !errors.Is(err, netpoll.ErrEOF) {
			t.Errorf("got %q, %v", p, err)
		}
	}},
	{"timeout per wait, and none again", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		testkit.Must(t, c.SetReadTimeout(5*time.Millisecond))
		for range 2 {
			if _, err := c.Reader().Next(1); !errors.Is(err, netpoll.ErrReadTimeout) {
				t.Fatalf("got %v", err)
			}
		}
		testkit.Must(t, c.SetReadTimeout(0))
		late := time.AfterFunc(20*time.Millisecond, func() { _, _ = peer.Write([]byte("late")) })
		defer late.Stop()
		wantString(t, c.Reader(), "late")
		if !c.IsActive() {
			t.Error("a timeout has ended the connection")
		}
	}},
	{"timeout after a deadline that was removed", func(t *testing.T, c netpoll.Connection, _ *net.TCPConn) {
		testkit.Must(t, c.SetReadTimeout(5*time.Millisecond))
		testkit.Must(t, c.SetReadDeadline(time.Now().Add(patience)))
		testkit.Must(t, c.SetReadDeadline(time.Time{}))
		if _, err := c.Reader().Next(1); !errors.Is(err, netpoll.ErrReadTimeout) {
			t.Errorf("got %v, want %v", err, netpoll.ErrReadTimeout)
		}
	}},
	{"timeout instead of a deadline", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		testkit.Must(t, c.SetReadDeadline(time.Now().Add(-time.Second)))
		testkit.Must(t, c.SetReadTimeout(patience))
		send(t, peer, "soon")
		wantString(t, c.Reader(), "soon")
	}},
	{"net.Conn's Read and Write", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		p := []byte("reused")
		n, err := c.Write(p)
		if err != nil || n != 6 {
			t.Errorf("got %d, %v", n, err)
		}
		copy(p, "XXXXXX")
		wantBytes(t, peer, "reused")
		send(t, peer, "answer")
		wantBytes(t, c, "answer")
	}},
	{"large both ways", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
		var echoing sync.WaitGroup
		echoing.Go(func() {
			if _, err := io.CopyN(peer, peer, int64(len(data))); err != nil {
				t.Error(err)
			}
		})
		flushed := make(chan error, 1)
		go func() {
			_, err := c.Writer().WriteBinary(data)
			flushed <- errors.Join(err, c.Writer().Flush())
		}()
		p, err := c.Reader().ReadBinary(len(data))
		if err != nil || !bytes.Equal(p, data) {
			t.Errorf("got %d bytes, %v", len(p), err)
		}
		testkit.Must(t, testkit.Receive(t, "Flush", flushed))
		echoing.Wait()
	}},
	{"addresses after Close", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		c.Close()
		if c.RemoteAddr() == nil || c.RemoteAddr().String() != peer.LocalAddr().String() || c.RemoteAddr().Network() != "tcp" {
			t.Errorf("got %v, want %v", c.RemoteAddr(), peer.LocalAddr())
		}
		if c.IsActive() {
			t.Error("active after Close")
		}
		_ = c.Close() // again
	}},
	{"close callbacks: last added first, once", func(t *testing.T, c netpoll.Connection, _ *net.TCPConn) {
		var order []int
		for i := range 3 {
			testkit.Must(t, c.AddCloseCallback(func(got netpoll.Connection) error {
				order = append(order, i)
				return errors.New("ignored")
			}))
		}
		testkit.Must(t, c.AddCloseCallback(nil))
		c.Close()
		c.Close()
		if want := []int{2, 1, 0}; !slices.Equal(order, want) {
			t.Errorf("got %v, want %v", order, want)
		}
	}},
	{"SetOnRequest is called for what waits, and for what comes", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		got := make(chan string, 10)
		testkit.Must(t, c.SetOnRequest(nil))
		testkit.Must(t, c.SetOnRequest(func(_ context.Context, handled netpoll.Connection) error {
			// Netpoll passes the connection inside its TCPConnection.
			if _, own := c.(*netpollconn.Conn); own && handled != c {
				t.Errorf("got connection %p, want %p", handled, c)
			}
			s, err := handled.Reader().ReadString(4)
			got <- s
			return err
		}))
		for _, want := range []string{"ping", "pong"} {
			send(t, peer, want)
			if s := testkit.Receive(t, "OnRequest", got); s != want {
				t.Errorf("got %q, want %q", s, want)
			}
		}
	}},
	{"an error of OnRequest has no effect, and it may be replaced", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		got := make(chan string, 10)
		handler := func(name string, err error) netpoll.OnRequest {
			return func(_ context.Context, c netpoll.Connection) error {
				s, readErr := c.Reader().ReadString(4)
				got <- name + s
				return errors.Join(err, readErr)
			}
		}
		send(t, peer, "ping")
		testkit.Eventually(t, "it has arrived", func() bool { return c.Reader().Len() == 4 })
		testkit.Must(t, c.SetOnRequest(handler("first: ", io.EOF)))
		if s := testkit.Receive(t, "OnRequest", got); s != "first: ping" {
			t.Errorf("got %q", s)
		}
		testkit.Must(t, c.SetOnRequest(handler("second: ", errors.New("failed"))))
		// The first handler gets what comes until it has returned, which the test cannot see.
		send(t, peer, "pong")
		s := testkit.Receive(t, "OnRequest", got)
		for ; s == "first: pong"; s = testkit.Receive(t, "OnRequest", got) {
			send(t, peer, "pong")
		}
		if s != "second: pong" {
			t.Errorf("got %q", s)
		}
		send(t, peer, "peng")
		if s := testkit.Receive(t, "OnRequest", got); s != "second: peng" {
			t.Errorf("got %q", s)
		}
		if !c.IsActive() {
			t.Error("it is not active")
		}
	}},
	{"OnRequest's connection closes with its peer", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		closed, left := make(chan struct{}), make(chan struct{})
		entered := make(chan struct{})
		testkit.Must(t, c.AddCloseCallback(func(netpoll.Connection) error {
			select {
			case <-left:
			default:
				t.Error("close callback while OnRequest runs")
			}
			close(closed)
			return nil
		}))
		var once sync.Once
		testkit.Must(t, c.SetOnRequest(func(_ context.Context, c netpoll.Connection) error {
			_ = c.Reader().Skip(c.Reader().Len())
			once.Do(func() {
				close(entered)
				peer.Close()
				testkit.Eventually(t, "it is not active", func() bool { return !c.IsActive() })
				close(left)
			})
			return nil
		}))
		send(t, peer, "ping")
		testkit.Receive(t, "OnRequest", entered)
		testkit.Receive(t, "close callback", closed)
	}},
	{"Append of LinkBuffers", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
		checkAppend(t, c, peer)
	}},
	{"Append of an unknown writer", func(t *testing.T, c netpoll.Connection, _ *net.TCPConn) {
		if err := c.Writer().Append(unknownWriter{}); err == nil {
			t.Error("got nil")
		}
	}},
}

type unknownWriter struct{ netpoll.Writer }

// checkAppend appends netpoll's buffers of every size, some with many nodes.
func checkAppend(t *testing.T, c netpoll.Connection, peer *net.TCPConn) {
	w := c.Writer()
	sent := make(chan error, 1)
	var want bytes.Buffer
	var parts []*netpoll.LinkBuffer
	for _, sizes := range [][]int{{}, {1}, {100, 5000, 3}, slices.Repeat([]int{5000}, 40), slices.Repeat([]int{10}, 100), {1 << 20}, slices.Repeat([]int{9000}, 16), slices.Repeat([]int{9000}, 17)} {
		b := netpoll.NewLinkBuffer()
		for i, n := range sizes {
			p := bytes.Repeat([]byte{byte('a' + i%26)}, n)
			_, err := b.WriteBinary(p)
			testkit.Must(t, err)
			want.Write(p)
		}
		parts = append(parts, b)
		want.WriteString("|")
	}
	go func() {
		for i, b := range parts {
			err := w.Append(b)
			if err == nil {
				err = w.WriteByte('|')
			}
			if err == nil && i%2 == 1 {
				err = w.Flush()
			}
			if err != nil {
				sent <- err
				return
			}
		}
		sent <- w.Flush()
	}()
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("got %d bytes, %v, the same: %v", len(got), err, bytes.Equal(got, want.Bytes()))
	}
	testkit.Must(t, testkit.Receive(t, "Append", sent))
}

func TestContract(t *testing.T) {
	for _, tc := range contract {
		for _, k := range kinds {
			t.Run(tc.name+"/"+k.name, func(t *testing.T) {
				c, peer := k.pair(t)
				tc.check(t, c, peer)
			})
		}
	}
}

func TestOfIsIdempotent(t *testing.T) {
	c, _ := ours(t)
	if again := netpollconn.Of(c.Conn); again != c {
		t.Errorf("got %p, want %p", again, c)
	}
	if c.Reader() != c.Reader() || c.Writer() != c.Writer() {
		t.Error("Reader and Writer differ from call to call")
	}
	if c.NetConn() == nil || c.NetConn() != c.Conn.NetConn() {
		t.Error("NetConn is not the socket")
	}
}

// What was written to another connection's Writer moves, netpoll's buffers included.
func TestAppendOfOurWriter(t *testing.T) {
	from, fromPeer := ours(t)
	to, peer := ours(t)
	b := netpoll.NewLinkBuffer()
	_, err := b.WriteBinary(bytes.Repeat([]byte("b"), 9000))
	testkit.Must(t, err)
	_, err = from.Writer().WriteString("a")
	testkit.Must(t, err)
	testkit.Must(t, from.Writer().Append(b))
	testkit.Must(t, to.Writer().WriteByte('<'))
	testkit.Must(t, to.Writer().Append(from.Writer()))
	testkit.Must(t, to.Writer().WriteByte('>'))
	if n := from.Writer().MallocLen(); n != 0 {
		t.Errorf("MallocLen of what was appended: got %d, want 0", n)
	}
	testkit.Must(t, to.Writer().Flush())
	testkit.Must(t, from.Writer().Flush())
	to.Close()
	from.Close()
	want := "<a" + strings.Repeat("b", 9000) + ">"
	if got, err := io.ReadAll(peer); err != nil || string(got) != want {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
	if got, err := io.ReadAll(fromPeer); err != nil || len(got) != 0 {
		t.Errorf("the other: got %q, %v", got, err)
	}
	if err := to.Writer().Append(unknownWriter{}); !errors.Is(err, netpoll.ErrConnClosed) {
		t.Errorf("unknown writer after Close: got %v, want ErrConnClosed", err)
	}
}

func TestAppendAfterClose(t *testing.T) {
	c, _ := ours(t)
	b := netpoll.NewLinkBuffer()
	_, err := b.WriteString("x")
	testkit.Must(t, err)
	c.Close()
	err = c.Writer().Append(b)
	if err == nil {
		err = c.Writer().Flush()
	}
	if !errors.Is(err, netpoll.ErrConnClosed) {
		t.Errorf("got %v, want ErrConnClosed", err)
	}
}

// TTHeader streaming needs to know that the peer has gone before its handler has returned.
func TestOnDisconnectWhileHandlerRuns(t *testing.T) {
	g := newGroup(t)
	disconnected := make(chan *netpollconn.Conn, 2)
	var order []string
	var mu sync.Mutex
	note := func(s string) { mu.Lock(); order = append(order, s); mu.Unlock() }
	ended := make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	srv, err := conn.NewServer(conn.ServerConfig{Group: g, Config: conn.Config{
		OnPrepare: func(c *conn.Conn) context.Context {
			nc := netpollconn.Of(c)
			testkit.Must(t, nc.SetOnDisconnect(nil))
			testkit.Must(t, nc.AddCloseCallback(func(netpoll.Connection) error { note("closed"); close(ended); return nil }))
			return nil
		},
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			nc := netpollconn.Of(c)
			_ = nc.Reader().Skip(nc.Reader().Len())
			testkit.Must(t, nc.SetOnDisconnect(func(_ context.Context, got netpoll.Connection) {
				note("disconnected")
				disconnected <- got.(*netpollconn.Conn)
			}))
			testkit.Equal(t, testkit.Receive(t, "OnDisconnect", disconnected), nc)
			note("returned")
			return nil
		},
	}})
	testkit.Must(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	testkit.Must(t, err)
	send(t, c, "ping")
	c.Close()
	testkit.Receive(t, "close callback", ended)
	testkit.Must(t, srv.Close())
	testkit.Must(t, testkit.Receive(t, "Serve", served))
	if want := []string{"disconnected", "returned", "closed"}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}

func TestCallbacksAfterClose(t *testing.T) {
	c, _ := ours(t)
	c.Close()
	called := func(netpoll.Connection) error { t.Error("called"); return nil }
	if err := c.AddCloseCallback(called); !errors.Is(err, netpoll.ErrConnClosed) {
		t.Errorf("AddCloseCallback: got %v, want ErrConnClosed", err)
	}
	on := func(context.Context, netpoll.Connection) error { t.Error("called"); return nil }
	if err := c.SetOnRequest(on); !errors.Is(err, netpoll.ErrConnClosed) {
		t.Errorf("SetOnRequest: got %v, want ErrConnClosed", err)
	}
}

// SetIdleTimeout closes an idle connection, unlike netpoll's; doc.go says so.
func TestIdleTimeout(t *testing.T) {
	c, peer := ours(t)
	testkit.Must(t, c.SetIdleTimeout(10*time.Millisecond))
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
	}
	testkit.ErrorIs(t, c.Err(), conn.ErrIdleTimeout, "Err")
}

// The connection's own reader may be closed like a slice: its memory is released, and the
// connection stays.
func TestReaderClose(t *testing.T) {
	c, peer := ours(t)
	send(t, peer, "pingpong")
	_, err := c.Reader().Next(4)
	testkit.Must(t, err)
	r, ok := c.Reader().(io.Closer)
	if !ok {
		t.Fatal("no io.Closer")
	}
	_ = r.Close()
	if !c.IsActive() {
		t.Error("closing the reader has closed the connection")
	}
}
