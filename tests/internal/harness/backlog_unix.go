//go:build unix

package harness

import (
	"net"
	"syscall"
	"testing"
)

// ShortenBacklog makes the accept queue of ln as short as the system allows: a second listen(2)
// sets its length again.
func ShortenBacklog(t testing.TB, ln net.Listener) {
	t.Helper()
	conn, ok := ln.(syscall.Conn)
	if !ok {
		t.Fatalf("got a %T, want a syscall.Conn", ln)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var listenErr error
	if err := raw.Control(func(fd uintptr) { listenErr = syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	if listenErr != nil {
		t.Fatal(listenErr)
	}
}
