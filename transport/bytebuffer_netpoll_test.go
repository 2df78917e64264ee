//go:build !windows

package transport

import (
	"io"
	"net"
	"testing"

	"github.com/cloudwego/netpoll"
)

// A user's dialer may return netpoll's own connections. On Windows netpoll has none.
func TestForeignNetpollConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := netpoll.DialConnection("tcp", ln.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	out := extension{}.NewWriteByteBuffer(t.Context(), c, nil)
	if _, err := out.WriteString("ping"); err != nil {
		t.Fatal(err)
	}
	must(out.Flush())
	must(out.Release(nil))
	p := make([]byte, 4)
	if _, err := io.ReadFull(peer, p); err != nil || string(p) != "ping" {
		t.Fatalf("got %q, %v", p, err)
	}
	if _, err := peer.Write(p); err != nil {
		t.Fatal(err)
	}
	in := extension{}.NewReadByteBuffer(t.Context(), c, nil)
	if s, err := in.ReadString(4); err != nil || s != "ping" {
		t.Errorf("got %q, %v", s, err)
	}
	must(in.Release(nil))
}
