package apache_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
)

// TestWrongReplies answers a call with a message that is not its reply: the call fails and the
// connection is closed.
func TestWrongReplies(t *testing.T) {
	for _, test := range []struct {
		name   string
		method string
		kind   thrift.TMessageType
		seqID  int32
		want   int32
	}{
		{"another method's", "Find", thrift.REPLY, 1, thrift.WRONG_METHOD_NAME},
		{"another call's", "Repeat", thrift.REPLY, 2, thrift.BAD_SEQUENCE_ID},
		{"a call", "Repeat", thrift.CALL, 1, thrift.INVALID_MESSAGE_TYPE_EXCEPTION},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr := answer(t, func(p thrift.TProtocol) {
				ctx := context.Background()
				check(p.WriteMessageBegin(ctx, test.method, test.kind, test.seqID))
				check((&echo.EchoServiceRepeatResult{}).Write(ctx, p))
				check(p.Flush(ctx))
			})
			c, err := apache.Dial(t.Context(), apache.ClientConfig{Address: addr})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = echo.NewEchoServiceClient(c).Repeat(t.Context(), "x", 1, "")
			var wrong thrift.TApplicationException
			if !errors.As(err, &wrong) || wrong.TypeId() != test.want {
				t.Errorf("got %v, want type %d", err, test.want)
			}
			if c.IsOpen() {
				t.Error("the connection is open")
			}
		})
	}
}

// TestHostileReply answers a call with a count that exceeds the bytes.
func TestHostileReply(t *testing.T) {
	addr := answer(t, func(p thrift.TProtocol) {
		ctx := context.Background()
		check(p.WriteMessageBegin(ctx, "Find", thrift.REPLY, 1))
		check(p.WriteFieldBegin(ctx, "success", thrift.STRUCT, 0))
		check(p.WriteFieldBegin(ctx, "tags", thrift.LIST, 4))
		check(p.WriteListBegin(ctx, thrift.STRING, 1<<31-1))
		check(p.Flush(ctx))
	})
	c, err := apache.Dial(t.Context(), apache.ClientConfig{Address: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = echo.NewEchoServiceClient(c).Find(t.Context(), "x")
	var bad thrift.TProtocolException
	if !errors.As(err, &bad) || bad.TypeId() != thrift.SIZE_LIMIT {
		t.Errorf("got %v", err)
	}
}

// answer accepts one connection and lets write answer its first call of the framed binary protocol.
func answer(t *testing.T, write func(p thrift.TProtocol)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		p := stockProtocol(apache.WireFramedBinary, thrift.NewTSocketFromConnConf(c, nil), nil)
		if _, _, _, err := p.ReadMessageBegin(context.Background()); err != nil {
			return
		}
		_ = p.Skip(context.Background(), thrift.STRUCT)
		write(p)
		_, _ = c.Read(make([]byte, 1)) // until the client closes
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return ln.Addr().String()
}

// TestSetConfiguration changes the limits of a protocol and of the transport below it.
func TestSetConfiguration(t *testing.T) {
	for _, p := range protocols {
		for _, size := range []int32{10, 1000} {
			trans := apache.NewTransport(received(frame(header(p.compact)), func() int { return 100 }), apache.Framed, nil)
			proto := p.ours(trans, nil)
			if proto.Transport() != thrift.TTransport(trans) {
				t.Error("another transport")
			}
			thrift.PropagateTConfiguration(proto, &thrift.TConfiguration{MaxFrameSize: size})
			_, _, _, err := proto.ReadMessageBegin(t.Context())
			limit := len(header(p.compact)) > int(size)
			if failed := err != nil; failed != limit {
				t.Errorf("%s with frames of %d bytes: %v", p.name, size, err)
			}
		}
	}
	f := thrift.TProtocolFactoryConf(apache.NewBinaryProtocolFactory(nil), &thrift.TConfiguration{MaxFrameSize: 10})
	trans := apache.NewTransport(received(frame(header(false)), func() int { return 100 }), apache.Framed, nil)
	if _, _, _, err := f.GetProtocol(trans).ReadMessageBegin(t.Context()); err == nil {
		t.Error("a factory's configuration has no effect")
	}
}

// TestMessageLeftUnread begins a message before the previous one was read to its end.
func TestMessageLeftUnread(t *testing.T) {
	wire := frame(append(header(false), 0))
	p := apache.NewBinaryProtocol(apache.NewTransport(received(append(wire, wire...), func() int { return 100 }), apache.Framed, nil), nil)
	if _, _, _, err := p.ReadMessageBegin(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, _, err := p.ReadMessageBegin(t.Context())
	var bad thrift.TProtocolException
	if !errors.As(err, &bad) || bad.TypeId() != thrift.INVALID_DATA {
		t.Errorf("got %v", err)
	}
}

// TestWires checks the names of all wires.
func TestWires(t *testing.T) {
	for w, want := range map[apache.Wire]string{
		apache.WireDetect: "detect", apache.WireFramedCompact: "framed compact", apache.WireHeader: "THeader", 99: "unknown",
	} {
		if w.String() != want {
			t.Errorf("%d: got %q, want %q", w, w, want)
		}
	}
}
