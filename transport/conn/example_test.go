package conn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/kiteline/kiteline/transport/conn"
)

// A server that answers every line with the line in capitals.
func ExampleNewServer() {
	srv, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			line, err := c.Reader().Until('\n')
			if err != nil {
				return err
			}
			if _, err := c.Writer().WriteBinary(bytes.ToUpper(line)); err != nil {
				return err
			}
			return c.Writer().Flush()
		},
		ReadTimeout: time.Second, // for each wait for more of a line that has begun
		IdleTimeout: time.Minute,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	_, _ = fmt.Fprintln(client, "hello")
	var answer string
	_, _ = fmt.Fscanln(client, &answer)
	fmt.Println(answer)

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println(srv.Shutdown(ctx), <-served)
	// Output:
	// HELLO
	// <nil> <nil>
}

// A client asks, then reads the answer on the same goroutine, nocopy.
func ExampleDialer() {
	address, stop := startLengthServer()
	defer stop()
	group, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer group.Close()

	dialer := conn.Dialer{
		Group:  group,
		Config: conn.Config{ReadTimeout: time.Second, WriteTimeout: time.Second},
	}
	c, err := dialer.DialTimeout("tcp", address, time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	for _, message := range []string{"one", "three"} {
		w := c.Writer()
		head, _ := w.Malloc(4) // filled in below: it does not move before Flush
		_, _ = w.WriteString(message)
		binary.BigEndian.PutUint32(head, uint32(w.MallocLen()-4))
		if err := w.Flush(); err != nil {
			fmt.Println(err)
			return
		}
		answer, err := c.Reader().Next(4) // valid until Release
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(message, "has", binary.BigEndian.Uint32(answer), "bytes")
		_ = c.Reader().Release()
	}
	fmt.Println("active:", c.IsActive())
	// Output:
	// one has 3 bytes
	// three has 5 bytes
	// active: true
}

// startLengthServer answers each frame, four bytes of length and as many bytes, with its length.
func startLengthServer() (address string, stop func()) {
	srv, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			r := c.Reader()
			if r.Len() < 4 {
				return nil // called again when more has come
			}
			head, err := r.Peek(4)
			if err != nil {
				return err
			}
			length := binary.BigEndian.Uint32(head)
			if r.Len() < 4+int(length) {
				return nil
			}
			if err := r.Skip(4 + int(length)); err != nil {
				return err
			}
			answer, err := c.Writer().Malloc(4)
			if err != nil {
				return err
			}
			binary.BigEndian.PutUint32(answer, length)
			return c.Writer().Flush()
		},
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() { _ = srv.Serve(ln) }()
	return ln.Addr().String(), func() { srv.Close() }
}

// Any net.Conn can be made a Conn.
func ExampleNew() {
	a, b := net.Pipe()
	server, err := conn.New(b, conn.Config{
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			name, err := c.Reader().ReadString(c.Reader().Len())
			if err != nil {
				return err
			}
			_, err = c.Write([]byte("hello, " + name))
			return err
		},
		OnDisconnect: func(context.Context, *conn.Conn) { fmt.Println("the peer has gone") },
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	closed := make(chan struct{})
	_ = server.AddCloseCallback(func(c *conn.Conn) {
		fmt.Println("ended:", c.Err())
		close(closed)
	})
	_, _ = a.Write([]byte("pipe"))
	answer := make([]byte, 100)
	n, _ := a.Read(answer)
	fmt.Println(string(answer[:n]))
	a.Close()
	<-closed
	// Output:
	// hello, pipe
	// the peer has gone
	// ended: EOF
}
