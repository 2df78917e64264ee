package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Echo is a closed loop on many connections, with one request after the other on each, from one
// thread. It is so cheap that a server's figures are the server's own, and it is the same for all
// servers. Replies must be as long as requests. Its methods must not be called at the same time.
type Echo struct {
	epoll    int
	request  []byte
	reply    []byte // replies are read into it, one after the other, and ignored
	conns    []echoConn
	answered record
}

// echoConn is one connection, with a request in flight while a load runs.
type echoConn struct {
	fd      int
	sent    int // bytes of the request that the kernel has taken
	got     int // bytes of the reply
	since   time.Time
	writing bool // epoll reports room for more of the request
}

// stallTime is how long all connections together may make no progress.
const stallTime = 10 * time.Second

// NewEcho opens count connections to addr that send request repeatedly.
func NewEcho(addr string, count int, request []byte) (*Echo, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	e := &Echo{epoll: epoll, request: request, reply: make([]byte, len(request))}
	for range count {
		if err := e.dial(addr); err != nil {
			e.Close()
			return nil, fmt.Errorf("connection %d of %d: %w", len(e.conns)+1, count, err)
		}
	}
	return e, nil
}

// Close closes all connections.
func (e *Echo) Close() {
	for _, c := range e.conns {
		_ = unix.Close(c.fd) // nothing depends on it any longer
	}
	_ = unix.Close(e.epoll)
}

// dial connects and keeps a descriptor that Go's own poller does not know.
func (e *Echo) dial(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the duplicate stays open
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		panic("load: BUG: net.Dial returned no TCP connection for TCP")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var fd int
	var dupErr error
	if err := raw.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return err
	}
	if dupErr != nil {
		return os.NewSyscallError("fcntl", dupErr)
	}
	e.conns = append(e.conns, echoConn{fd: fd})
	return e.control(unix.EPOLL_CTL_ADD, len(e.conns)-1, unix.EPOLLIN)
}

func (e *Echo) control(op, i int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(i)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.epoll, op, e.conns[i].fd, &event))
}

// Run keeps every connection busy until d has passed, and waits for the last replies. With a zero d
// each connection gets one answer.
func (e *Echo) Run(ctx context.Context, d time.Duration) (Report, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	e.answered.latencies = newHistogram()
	began := time.Now()
	for i := range e.conns {
		if err := e.begin(i); err != nil {
			return Report{}, err
		}
	}
	var events [256]unix.EpollEvent
	for busy := len(e.conns); busy > 0; {
		if ctx.Err() != nil {
			return Report{}, context.Cause(ctx)
		}
		n, err := unix.EpollWait(e.epoll, events[:], int(stallTime.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return Report{}, os.NewSyscallError("epoll_wait", err)
		case n == 0:
			return Report{}, fmt.Errorf("no reply for %v on %d of %d connections", stallTime, busy, len(e.conns))
		}
		for _, event := range events[:n] {
			ended, err := e.advance(int(event.Fd), time.Since(began) < d)
			if err != nil {
				return Report{}, err
			}
			if ended {
				busy--
			}
		}
	}
	return newReport(e.answered.latencies, time.Since(began)), nil
}

// begin sends a new request on connection i.
func (e *Echo) begin(i int) error {
	c := &e.conns[i]
	c.sent, c.got, c.since = 0, 0, time.Now()
	return e.send(i)
}

// advance continues connection i, which epoll reported. After a reply it begins the next request if
// there is one. It reports whether the connection has finished.
func (e *Echo) advance(i int, again bool) (ended bool, err error) {
	c := &e.conns[i]
	if c.sent < len(e.request) {
		if err := e.send(i); err != nil {
			return false, err
		}
	}
	if err := e.receive(c); err != nil {
		return false, err
	}
	if c.got < len(e.request) {
		return false, nil
	}
	if err := e.answered.add(time.Since(c.since)); err != nil || !again {
		return true, err
	}
	return false, e.begin(i)
}

// send gives the kernel as much of the request as it takes.
func (e *Echo) send(i int) error {
	c := &e.conns[i]
	n, err := unix.Write(c.fd, e.request[c.sent:])
	if n > 0 {
		c.sent += n
	}
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return os.NewSyscallError("write", err)
	}
	if left := c.sent < len(e.request); left != c.writing {
		c.writing = left
		events := uint32(unix.EPOLLIN)
		if left {
			events |= unix.EPOLLOUT
		}
		return e.control(unix.EPOLL_CTL_MOD, i, events)
	}
	return nil
}

// receive takes the part of the reply that has come.
func (e *Echo) receive(c *echoConn) error {
	n, err := unix.Read(c.fd, e.reply[c.got:])
	switch {
	case c.got == len(e.request):
		return errors.New("the server sent or closed without having been asked to")
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return os.NewSyscallError("read", err)
	case n == 0:
		return fmt.Errorf("after %d of %d bytes of a reply: %w", c.got, len(e.request), io.ErrUnexpectedEOF)
	}
	c.got += n
	return nil
}
