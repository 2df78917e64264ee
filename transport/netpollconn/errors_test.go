//go:build !windows

package netpollconn_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

func TestErrors(t *testing.T) {
	op := func(err error) error { return &conn.OpError{Op: "test", Err: err} }
	kernel := func(errno syscall.Errno) error { return op(os.NewSyscallError("test", errno)) }
	for _, tc := range []struct {
		err         error
		read, write syscall.Errno // netpoll's values; 0: left as it is
	}{
		{io.EOF, netpoll.ErrEOF, netpoll.ErrConnClosed},
		{io.ErrUnexpectedEOF, netpoll.ErrEOF, netpoll.ErrConnClosed},
		{kernel(syscall.ECONNRESET), netpoll.ErrEOF, netpoll.ErrConnClosed},
		{kernel(syscall.EPIPE), netpoll.ErrEOF, netpoll.ErrConnClosed},
		{op(net.ErrClosed), netpoll.ErrConnClosed, netpoll.ErrConnClosed},
		{op(os.ErrDeadlineExceeded), netpoll.ErrReadTimeout, netpoll.ErrWriteTimeout},
		{conn.ErrIdleTimeout, netpoll.ErrReadTimeout, netpoll.ErrWriteTimeout},
		{kernel(syscall.EHOSTUNREACH), netpoll.ErrEOF, netpoll.ErrConnClosed},
		{kernel(syscall.ETIMEDOUT), netpoll.ErrEOF, netpoll.ErrConnClosed},
		{&buffer.SizeError{}, 0, 0},
		{errors.New("else"), 0, 0},
	} {
		checkError(t, "read", tc.err, netpollconn.ReadError(tc.err), tc.read)
		checkError(t, "write", tc.err, netpollconn.WriteError(tc.err), tc.write)
	}
	if netpollconn.ReadError(nil) != nil || netpollconn.WriteError(nil) != nil {
		t.Error("nil is no error")
	}
}

func checkError(t *testing.T, direction string, cause, got error, code syscall.Errno) {
	t.Helper()
	if code == 0 {
		if got != cause {
			t.Errorf("%s %v: got %v, want it as it is", direction, cause, got)
		}
		return
	}
	for _, wrapped := range []error{got, fmt.Errorf("wrapped: %w", got)} {
		if isEnd(wrapped) {
			t.Errorf("%s %v: %v is the end of a stream", direction, cause, wrapped)
		}
		if !isEnd(cause) && !errors.Is(wrapped, cause) || !errors.Is(wrapped, code) {
			t.Errorf("%s %v: %v is not both it and %v", direction, cause, wrapped, code)
		}
		// As in netpoll, the end of the stream also matches a closed connection, and nothing else
		// does.
		for _, value := range []error{netpoll.ErrConnClosed, netpoll.ErrEOF, netpoll.ErrReadTimeout, netpoll.ErrWriteTimeout, netpoll.ErrDialTimeout} {
			if is, want := errors.Is(wrapped, value), errors.Is(netpoll.Exception(code, ""), value); is != want {
				t.Errorf("%s %v: Is(%v): got %v, want netpoll's %v", direction, cause, value, is, want)
			}
		}
		checkAs(t, direction, cause, wrapped, code)
	}
	var e *netpollconn.Error
	if !errors.As(got, &e) || e.Code != code || e.Err != cause || errors.Unwrap(got) != code {
		t.Errorf("%s %v: got %#v", direction, cause, got)
		return
	}
	theirs := netpoll.Exception(code, "")
	if !strings.HasPrefix(got.Error(), theirs.Error()) || !strings.Contains(got.Error(), cause.Error()) {
		t.Errorf("%s %v: got text %q, want it to begin with %q", direction, cause, got, theirs)
	}
	if want := theirs.(net.Error).Timeout(); e.Timeout() != want || e.Temporary() {
		t.Errorf("%s %v: Timeout %v, want %v; Temporary %v", direction, cause, e.Timeout(), want, e.Temporary())
	}
	if again := netpollconn.WriteError(netpollconn.ReadError(got)); again != got {
		t.Errorf("%s %v: twice: got %#v", direction, cause, again)
	}
}

// checkAs checks that errors.As finds in got what it finds in its cause, and an error number as in
// netpoll's errors.
func checkAs(t *testing.T, direction string, cause, got error, code syscall.Errno) {
	t.Helper()
	var op, wantOp *conn.OpError
	if errors.As(got, &op) != errors.As(cause, &wantOp) || op != wantOp {
		t.Errorf("%s %v: As(*conn.OpError): got %v, want %v", direction, cause, op, wantOp)
	}
	var call, wantCall *os.SyscallError
	if errors.As(got, &call) != errors.As(cause, &wantCall) || call != wantCall {
		t.Errorf("%s %v: As(*os.SyscallError): got %v, want %v", direction, cause, call, wantCall)
	}
	want := code
	if direction == "write" && wantCall != nil { // as netpoll's Flush gives it
		want = wantCall.Err.(syscall.Errno)
	}
	var number syscall.Errno
	if !errors.As(got, &number) || number != want {
		t.Errorf("%s %v: As(syscall.Errno): got %v, want %v", direction, cause, number, want)
	}
}

// isEnd reports whether err is the end of a stream.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// TestErrorWithoutCode: with no value of netpoll's, as for memory that ends too soon, an Error is
// neither the end of a stream nor that of a connection.
func TestErrorWithoutCode(t *testing.T) {
	for _, short := range []error{&buffer.ShortError{Need: 1}, &buffer.ShortError{Need: 2, Have: 1}, io.EOF, io.ErrUnexpectedEOF} {
		err := error(&netpollconn.Error{Err: short})
		var e *netpollconn.Error
		if !errors.As(err, &e) || e.Err != short || isEnd(err) || errors.Is(err, netpoll.ErrConnClosed) || err.Error() != short.Error() || errors.Unwrap(err) != nil {
			t.Errorf("%v: got %#v", short, err)
		}
		var number syscall.Errno
		if errors.As(err, &number) {
			t.Errorf("%v: As(syscall.Errno): got %v", short, number)
		}
	}
}

// TestErrorsAgree ends both kinds of connection in the same ways.
func TestErrorsAgree(t *testing.T) {
	for _, tc := range []struct {
		name    string
		op      func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) error
		is, not []error
		timeout bool
	}{
		{"peer closed", func(_ *testing.T, c netpoll.Connection, peer *net.TCPConn) error {
			peer.Close()
			_, err := c.Reader().Next(1)
			return err
		}, []error{netpoll.ErrEOF, netpoll.ErrConnClosed}, []error{netpoll.ErrReadTimeout}, false},
		{"peer closed inside", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) error {
			send(t, peer, "half")
			peer.Close()
			_, err := c.Reader().Peek(8)
			return err
		}, []error{netpoll.ErrEOF, netpoll.ErrConnClosed}, nil, false},
		{"peer reset", func(t *testing.T, c netpoll.Connection, peer *net.TCPConn) error {
			testkit.Must(t, peer.SetLinger(0))
			peer.Close()
			_, err := c.Reader().Next(1)
			return err
		}, []error{netpoll.ErrEOF, netpoll.ErrConnClosed}, nil, false},
		{"own close, read", func(_ *testing.T, c netpoll.Connection, _ *net.TCPConn) error {
			c.Close()
			_, err := c.Reader().Next(1)
			return err
		}, []error{netpoll.ErrConnClosed}, []error{netpoll.ErrReadTimeout}, false},
		{"own close, write", func(_ *testing.T, c netpoll.Connection, _ *net.TCPConn) error {
			c.Close()
			_, err := c.Write([]byte("x"))
			return err
		}, []error{netpoll.ErrConnClosed}, []error{netpoll.ErrEOF}, false},
		{"read timeout", func(t *testing.T, c netpoll.Connection, _ *net.TCPConn) error {
			testkit.Must(t, c.SetReadTimeout(time.Millisecond))
			_, err := c.Reader().Next(1)
			return err
		}, []error{netpoll.ErrReadTimeout}, []error{netpoll.ErrConnClosed}, true},
		{"read deadline", func(t *testing.T, c netpoll.Connection, _ *net.TCPConn) error {
			testkit.Must(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
			_, err := c.Reader().Next(1)
			return err
		}, []error{netpoll.ErrReadTimeout}, []error{netpoll.ErrConnClosed}, true},
		{"deadline, net.Conn's Read", func(t *testing.T, c netpoll.Connection, _ *net.TCPConn) error {
			testkit.Must(t, c.SetDeadline(time.Now().Add(time.Millisecond)))
			_, err := c.Read(make([]byte, 1))
			return err
		}, []error{netpoll.ErrReadTimeout}, []error{netpoll.ErrConnClosed}, true},
		{"write timeout", func(t *testing.T, c netpoll.Connection, _ *net.TCPConn) error {
			testkit.Must(t, c.SetWriteTimeout(10*time.Millisecond))
			_, err := c.Writer().WriteBinary(make([]byte, 16<<20))
			testkit.Must(t, err)
			return c.Writer().Flush()
		}, []error{netpoll.ErrWriteTimeout}, []error{netpoll.ErrReadTimeout}, true},
	} {
		for _, k := range kinds {
			t.Run(tc.name+"/"+k.name, func(t *testing.T) {
				c, peer := k.pair(t)
				err := tc.op(t, c, peer)
				for _, want := range tc.is {
					if !errors.Is(err, want) {
						t.Errorf("got %v, which is not %v", err, want)
					}
				}
				for _, other := range tc.not {
					if errors.Is(err, other) {
						t.Errorf("got %v, which is %v", err, other)
					}
				}
				var ne net.Error
				if !errors.As(err, &ne) || ne.Timeout() != tc.timeout {
					t.Errorf("got %v, want Timeout %v", err, tc.timeout)
				}
			})
		}
	}
}

// The end of the stream is netpoll's error for Read too.
func TestReadAtTheEnd(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			c, peer := k.pair(t)
			send(t, peer, "last")
			peer.Close()
			if got, err := io.ReadAll(c); !errors.Is(err, netpoll.ErrEOF) || isEnd(err) || string(got) != "last" {
				t.Errorf("got %q, %v, want netpoll's ErrEOF", got, err)
			}
		})
	}
}

// An operation that does not fail, such as each write of a message, costs no memory.
func TestNoErrorCostsNothing(t *testing.T) {
	for name, f := range map[string]func(error) error{"ReadError": netpollconn.ReadError, "WriteError": netpollconn.WriteError} {
		if got := testing.AllocsPerRun(100, func() { _ = f(nil) }); got != 0 {
			t.Errorf("%s(nil): got %v allocations, want none", name, got)
		}
	}
}
