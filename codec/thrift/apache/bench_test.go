package apache_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
)

// benchSizes are the sizes of a message's attachment in bytes.
var benchSizes = []struct {
	name  string
	bytes int
}{{"0", 0}, {"1K", 1 << 10}, {"16K", 16 << 10}, {"1M", 1 << 20}}

// benchMessage returns a message of about 2.4 KB without its attachment: ten structs, a map, and
// sixteen numbers.
func benchMessage(attachment int) *echo.Message {
	m := message()
	m.Attachment = bytes.Repeat([]byte("x"), attachment)
	m.Tags, m.Recipients, m.Attributes, m.Replies = nil, nil, map[string]string{}, nil
	for i := range 8 {
		m.Tags = append(m.Tags, fmt.Sprintf("a tag of the message, the %dth", i))
	}
	for i := range 16 {
		m.Recipients = append(m.Recipients, int64(i)<<40)
	}
	for i := range 16 {
		m.Attributes[fmt.Sprintf("attribute-%d", i)] = fmt.Sprintf("the value of attribute %d", i)
	}
	for i := range 10 {
		m.Replies = append(m.Replies, &echo.Message{
			Text: fmt.Sprintf("the text of reply %d", i), Author: &echo.Author{Name: "an author"}, Priority: echo.Priority_LOW, Language: "en",
		})
	}
	return m
}

// loop returns the same bytes forever.
type loop struct {
	b   []byte
	off int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.b[l.off:])
	l.off = (l.off + n) % len(l.b)
	return n, nil
}

func BenchmarkRead(b *testing.B) {
	for _, p := range protocols {
		for _, size := range benchSizes {
			wire := request(b, map[bool]apache.Wire{false: apache.WireFramedBinary, true: apache.WireFramedCompact}[p.compact],
				thrift.CALL, "Store", &echo.EchoServiceStoreArgs{Key: "key", Message: benchMessage(size.bytes)})
			s := new(stream)
			ours := p.ours(apache.NewTransport(s, apache.Framed, nil), nil)
			stock := p.stock(thrift.NewTFramedTransportConf(thrift.NewStreamTransportR(io.Reader(&loop{b: wire})), nil), nil)
			b.Run(fmt.Sprintf("%s/%s/kiteline", p.name, size.name), func(b *testing.B) {
				benchRead(b, ours, wire, func() {
					check(s.in.Link(wire))
					check(s.in.Flush())
				})
			})
			b.Run(fmt.Sprintf("%s/%s/apache", p.name, size.name), func(b *testing.B) {
				benchRead(b, stock, wire, func() {})
			})
		}
	}
}

func benchRead(b *testing.B, p thrift.TProtocol, wire []byte, refill func()) {
	ctx := context.Background()
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		refill()
		if _, _, _, err := p.ReadMessageBegin(ctx); err != nil {
			b.Fatal(err)
		}
		var args echo.EchoServiceStoreArgs
		if err := args.Read(ctx, p); err != nil {
			b.Fatal(err)
		}
		if err := p.ReadMessageEnd(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, p := range protocols {
		for _, size := range benchSizes {
			args := &echo.EchoServiceStoreArgs{Key: "key", Message: benchMessage(size.bytes)}
			s := new(stream)
			s.out.Bind(nil, discard{})
			ours := p.ours(apache.NewTransport(s, apache.Framed, nil), nil)
			stock := p.stock(thrift.NewTFramedTransportConf(thrift.NewStreamTransportW(io.Discard), nil), nil)
			b.Run(fmt.Sprintf("%s/%s/kiteline", p.name, size.name), func(b *testing.B) { benchWrite(b, ours, args) })
			b.Run(fmt.Sprintf("%s/%s/apache", p.name, size.name), func(b *testing.B) { benchWrite(b, stock, args) })
		}
	}
}

func benchWrite(b *testing.B, p thrift.TProtocol, args thrift.TStruct) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		check(p.WriteMessageBegin(ctx, "Store", thrift.CALL, 1))
		check(args.Write(ctx, p))
		check(p.WriteMessageEnd(ctx))
		check(p.Flush(ctx))
	}
}

// BenchmarkCall lets one client call each server over loopback; client and server count.
func BenchmarkCall(b *testing.B) {
	for _, size := range benchSizes {
		payload := &echo.Payload{Data: bytes.Repeat([]byte("x"), size.bytes)}
		b.Run(size.name+"/kiteline", func(b *testing.B) {
			s := start(b, &service{}, nil)
			c, err := apache.Dial(context.Background(), apache.ClientConfig{Address: s.addr})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			benchCall(b, echo.NewEchoServiceClient(c), payload)
		})
		b.Run(size.name+"/apache", func(b *testing.B) {
			socket := thrift.NewTSocketConf(startStock(b, &service{}, apache.WireFramedBinary), nil)
			if err := socket.Open(); err != nil {
				b.Fatal(err)
			}
			defer socket.Close()
			p := stockProtocol(apache.WireFramedBinary, socket, nil)
			benchCall(b, echo.NewEchoServiceClient(thrift.NewTStandardClient(p, p)), payload)
		})
	}
}

func benchCall(b *testing.B, c echo.EchoService, payload *echo.Payload) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.EchoPayload(context.Background(), payload); err != nil {
			b.Fatal(err)
		}
	}
}
