package buffer_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kiteline/kiteline/transport/buffer"
)

// readerSource feeds a LinkBuffer from an io.Reader.
type readerSource struct{ r io.Reader }

func (s readerSource) Fill(b *buffer.LinkBuffer, need int) error {
	for b.Len() < need {
		n, err := s.r.Read(b.Reserve(0))
		b.Commit(n)
		if err != nil && b.Len() < need {
			return err
		}
	}
	return nil
}

// writerSink writes what a LinkBuffer holds to an io.Writer.
type writerSink struct{ w io.Writer }

func (s writerSink) Drain(b *buffer.LinkBuffer) error {
	for b.Len() > 0 {
		n, err := s.w.Write(b.First())
		b.Discard(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// A frame of a length field and a payload is written, with the length filled in last,
// and read back.
func ExampleLinkBuffer() {
	var socket strings.Builder

	var out buffer.LinkBuffer
	defer out.Close()
	out.Bind(nil, writerSink{&socket})
	length, _ := out.Malloc(4)
	out.WriteString("hello, ")
	out.Link([]byte("kiteline"))
	binary.BigEndian.PutUint32(length, uint32(out.MallocLen()-4))
	fmt.Println(out.Flush(), socket.Len())

	var in buffer.LinkBuffer
	defer in.Close()
	in.Bind(readerSource{strings.NewReader(socket.String())}, nil)
	header, _ := in.Next(4)
	n := int(binary.BigEndian.Uint32(header))
	frame, err := in.ReadFrame(n)
	in.Release() // header is invalid now, frame is not
	fmt.Println(string(frame), err)
	_, err = in.Next(1)
	fmt.Println(err)
	// Output:
	// <nil> 19
	// hello, kiteline <nil>
	// EOF
}

// Without a Source and a Sink a LinkBuffer is a queue in memory.
func ExampleLinkBuffer_Flush() {
	var b buffer.LinkBuffer
	defer b.Close()
	b.WriteString("abc")
	fmt.Println(b.Len(), b.MallocLen())
	b.Flush()
	fmt.Println(b.Len(), b.MallocLen())
	_, err := b.Next(4)
	fmt.Println(err, errors.Is(err, io.ErrUnexpectedEOF))
	// Output:
	// 0 3
	// 3 0
	// buffer: need 4 bytes, have 3 true
}

// A codec that has computed the size of a message inserts a long string by reference and drops the
// room that it had reserved for the string.
func ExampleLinkBuffer_WriteDirect() {
	var b buffer.LinkBuffer
	defer b.Close()
	long := strings.Repeat("x", 5)
	size := 1 + len(long) + 1
	space, _ := b.Malloc(size)
	written := b.MallocLen()
	space[0] = '('
	b.WriteDirect([]byte(long), size-1) // all but '(' comes after it
	space[1] = ')'
	b.MallocAck(written)
	b.Flush()
	s, err := b.ReadString(b.Len())
	fmt.Println(s, err)
	// Output: (xxxxx) <nil>
}

// A Slice is read on another goroutine after the buffer it came from was closed.
func ExampleLinkBuffer_Slice() {
	var b buffer.LinkBuffer
	b.WriteString("first second")
	b.Flush()
	part, _ := b.Slice(5)
	rest, _ := b.ReadString(b.Len())
	b.Close()

	done := make(chan string)
	go func() {
		defer part.(io.Closer).Close()
		s, _ := part.ReadString(part.Len())
		done <- s
	}()
	fmt.Printf("%q %q\n", <-done, rest)
	// Output: "first" " second"
}

// A Sink that writes with writev(2) takes many slices at once.
func ExampleLinkBuffer_Gather() {
	var b buffer.LinkBuffer
	defer b.Close()
	b.WriteString("head ")
	b.Link([]byte("body "))
	b.WriteString("tail")
	b.Flush()
	list := b.Gather(nil, 2)
	fmt.Printf("%q\n", list)
	b.Discard(len("head bo")) // as many as writev took
	fmt.Printf("%q %q\n", b.First(), b.Gather(nil, 10))
	// Output:
	// ["head " "body "]
	// "dy " ["dy " "tail"]
}

// Outstanding counts in programs built with the tag buffercheck only.
func ExampleOutstanding() {
	if n, ok := buffer.Outstanding(); ok && n > 0 {
		fmt.Println("blocks in use")
	}
	// Output:
}
