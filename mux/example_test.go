package mux_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// headerBytes is the length of the shortest TTHeader header, with its fixed part.
const headerBytes = 18

// write encodes a frame. A program has a codec for that.
func write(b *buffer.LinkBuffer, seqID uint32, text string) {
	header, err := b.Malloc(headerBytes)
	if err != nil {
		panic(err)
	}
	clear(header)
	binary.BigEndian.PutUint32(header, uint32(headerBytes-4+len(text)))
	binary.BigEndian.PutUint32(header[4:], 0x1000_0001) // TTHeader, out of order
	binary.BigEndian.PutUint32(header[8:], seqID)
	binary.BigEndian.PutUint16(header[12:], 1)
	if _, err := b.WriteString(text); err != nil {
		panic(err)
	}
}

// read decodes a frame.
func read(r buffer.Reader) string {
	header, err := r.Next(14)
	if err != nil {
		panic(err)
	}
	if err := r.Skip(4 * int(binary.BigEndian.Uint16(header[12:]))); err != nil {
		panic(err)
	}
	text, err := r.ReadString(r.Len())
	if err != nil {
		panic(err)
	}
	return text
}

type greeter struct{}

func (greeter) HandleCall(_ context.Context, call *muxserver.Call) bool {
	write(call.Reply(), call.SeqID(), "hello "+read(call.Request()))
	return true
}

func Example() {
	server, err := muxserver.New(muxserver.Config{Handler: greeter{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	near, far := net.Pipe()
	if _, err := conn.New(far, conn.Config{OnRequest: server.OnRequest}, nil); err != nil {
		fmt.Println(err)
		return
	}
	set := mux.NewSet(mux.Config{Dial: func(context.Context) (*conn.Conn, error) {
		return conn.New(near, conn.Config{}, nil)
	}})

	for _, name := range []string{"Ada", "Grace"} {
		call, err := set.Begin(context.Background(), time.Now().Add(time.Second))
		if err != nil {
			fmt.Println(err)
			return
		}
		write(call.Request(), call.SeqID(), name)
		if err := call.Send(); err != nil {
			fmt.Println(err)
			return
		}
		reply, err := call.Receive()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(read(reply))
		call.End()
	}
	fmt.Println(set.Stats().Shared, "connection shared")

	_ = set.Close()    // always nil
	_ = server.Close() // always nil
	// Output:
	// hello Ada
	// hello Grace
	// 1 connection shared
}
