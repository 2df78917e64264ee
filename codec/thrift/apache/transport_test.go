package apache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
)

// checkTransportError fails unless err is the library's exception of this type.
func checkTransportError(t *testing.T, what string, err error, want int) {
	t.Helper()
	var broken thrift.TTransportException
	if !errors.As(err, &broken) || broken.TypeId() != want {
		t.Errorf("%s: got %v (%T), want type %d", what, err, err, want)
	}
}

// TestPlainTransport uses a Transport like any io.Reader and io.Writer.
func TestPlainTransport(t *testing.T) {
	for _, framing := range []apache.Framing{apache.Framed, apache.Unframed} {
		t.Run(framing.String(), func(t *testing.T) {
			s := new(stream)
			trans := apache.NewTransport(s, framing, nil)
			long := bytes.Repeat([]byte("0123456789"), 2000)
			kept := bytes.Clone(long)
			if n, err := trans.Write(kept); n != len(long) || err != nil {
				t.Fatalf("Write: %d, %v", n, err)
			}
			clear(kept) // Write must not have kept it
			check(trans.WriteByte('!'))
			if n, err := trans.WriteString("end"); n != 3 || err != nil {
				t.Fatalf("WriteString: %d, %v", n, err)
			}
			if s.out.Len() != 0 {
				t.Error("sent before Flush")
			}
			check(trans.Flush(t.Context()))
			sent := s.sent()
			want := append(bytes.Clone(long), "!end"...)
			if framing == apache.Framed {
				want = frame(want)
			}
			if !bytes.Equal(sent, want) {
				t.Fatalf("sent %d bytes, want %d", len(sent), len(want))
			}
			back := apache.NewTransport(received(append(sent, sent...), func() int { return 777 }), framing, nil)
			for range 2 {
				p := make([]byte, len(long))
				if _, err := io.ReadFull(back, p); err != nil || !bytes.Equal(p, long) {
					t.Fatalf("Read: %v", err)
				}
				if left := back.RemainingBytes(); framing == apache.Framed && left != 4 || framing == apache.Unframed && left != thrift.UnknownRemainingBytes {
					t.Errorf("RemainingBytes: %d", left)
				}
				for _, want := range []byte("!end") {
					if c, err := back.ReadByte(); c != want || err != nil {
						t.Errorf("ReadByte: %c, %v", c, err)
					}
				}
			}
			if n, err := back.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("Read at the end: %d, %v", n, err)
			}
			if n, err := back.Read(nil); n != 0 || err != nil {
				t.Errorf("Read of nothing: %d, %v", n, err)
			}
		})
	}
}

// TestFlushOfNothing checks that an empty Flush sends nothing.
func TestFlushOfNothing(t *testing.T) {
	s := new(stream)
	if err := apache.NewTransport(s, apache.Framed, nil).Flush(t.Context()); err != nil || s.out.Len() != 0 {
		t.Errorf("got %v, %d bytes", err, s.out.Len())
	}
}

// TestStates opens, closes and opens a client's transport.
func TestStates(t *testing.T) {
	s := start(t, &service{}, nil)
	trans := apache.NewClientTransport(apache.ClientConfig{Address: s.addr})
	_, err := trans.Read(make([]byte, 1))
	checkTransportError(t, "Read before Open", err, thrift.NOT_OPEN)
	_, err = trans.Write([]byte{1})
	checkTransportError(t, "Write before Open", err, thrift.NOT_OPEN)
	_, _, _, err = apache.NewBinaryProtocol(trans, nil).ReadMessageBegin(t.Context())
	checkTransportError(t, "ReadMessageBegin before Open", err, thrift.NOT_OPEN)
	err = apache.NewCompactProtocol(trans, nil).WriteMessageBegin(t.Context(), "m", thrift.CALL, 1)
	checkTransportError(t, "WriteMessageBegin before Open", err, thrift.NOT_OPEN)
	if trans.IsOpen() || trans.Close() != nil {
		t.Error("open before Open, or not to be closed")
	}
	for range 2 {
		if err := trans.Open(); err != nil {
			t.Fatal(err)
		}
		checkTransportError(t, "Open of an open one", trans.Open(), thrift.ALREADY_OPEN)
		if !trans.IsOpen() {
			t.Error("not open after Open")
		}
		if _, err := trans.Write(repeatRequest(t, apache.WireUnframedBinary, "x")); err != nil {
			t.Error(err)
		}
		check(trans.Flush(t.Context()))
		if n, err := trans.Read(make([]byte, 4)); n != 4 || err != nil {
			t.Errorf("Read: %d, %v", n, err)
		}
		check(trans.Close())
		check(trans.Close())
		if trans.IsOpen() {
			t.Error("open after Close")
		}
		_, _, _, err := apache.NewBinaryProtocol(trans, nil).ReadMessageBegin(t.Context())
		if err == nil {
			t.Error("read after Close")
		}
	}
	made := apache.NewTransport(&stream{closed: true}, apache.Framed, nil)
	checkTransportError(t, "Open of one made of a connection", made.Open(), thrift.NOT_OPEN)
}

// TestOpenFails dials a closed port, in time and too late.
func TestOpenFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, err = apache.Dial(t.Context(), apache.ClientConfig{Address: addr})
	checkTransportError(t, "Dial", err, thrift.NOT_OPEN)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err = apache.Dial(ctx, apache.ClientConfig{Address: addr})
	checkTransportError(t, "Dial too late", err, thrift.TIMED_OUT)
}

// TestSocketTimeout checks that a call ends if its reply does not come.
func TestSocketTimeout(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conf := &thrift.TConfiguration{SocketTimeout: 20 * time.Millisecond, ConnectTimeout: patience}
	c, err := apache.Dial(t.Context(), apache.ClientConfig{Address: ln.Addr().String(), Configuration: conf})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Call(t.Context(), "m", emptyStruct{}, emptyStruct{})
	checkTransportError(t, "Call", err, thrift.TIMED_OUT)
}

// emptyStruct is a struct without fields.
type emptyStruct struct{}

func (emptyStruct) Read(ctx context.Context, p thrift.TProtocol) error {
	return p.Skip(ctx, thrift.STRUCT)
}

func (emptyStruct) Write(ctx context.Context, p thrift.TProtocol) error {
	return p.WriteFieldStop(ctx)
}

// TestIsOpenAnywhere calls IsOpen and Close from other goroutines while the transport is in use,
// under the race detector.
func TestIsOpenAnywhere(t *testing.T) {
	s := start(t, &service{}, nil)
	c, transport := s.dial(apache.WireFramedBinary)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					transport.IsOpen()
					runtime.Gosched()
				}
			}
		})
	}
	for range 30 {
		if _, err := c.Repeat(t.Context(), "x", 1, ""); err != nil {
			t.Error(err)
			break
		}
	}
	_ = transport.Close()
	close(stop)
	asking.Wait()
	if transport.IsOpen() {
		t.Error("open after Close")
	}
}

// TestPeerGone checks that the client notices that the server has closed the connection.
func TestPeerGone(t *testing.T) {
	s := start(t, &service{}, nil)
	_, transport := s.dial(apache.WireFramedBinary)
	_ = s.Close()
	deadline := time.After(patience)
	for transport.IsOpen() {
		select {
		case <-deadline:
			t.Fatal("open although the server has gone")
		case <-time.After(time.Millisecond):
		}
	}
}
