package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// epollLoad is a closed loop of echo requests over many connections from one
// thread: cheap enough that a server's figures are the server's, and the same
// for all of them.
type epollLoad struct {
	epoll     int
	conns     []loadConn
	request   []byte
	latencies *hdrhistogram.Histogram
	elapsed   time.Duration
}

// loadConn is one connection with a request under way.
type loadConn struct {
	fd   int
	got  int // bytes of the reply so far
	sent time.Time
}

// newHistogram holds latencies in nanoseconds up to a minute with three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Minute), 3)
}

func newEpollLoad(addr string, count int) (*epollLoad, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	l := &epollLoad{epoll: epoll, request: make([]byte, messageSize), latencies: newHistogram()}
	for range count {
		if err := l.dial(addr); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// dial connects and keeps a descriptor that Go's own poller knows nothing of.
func (l *epollLoad) dial(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return fmt.Errorf("%s is not a TCP connection", addr)
	}
	file, err := tcp.File()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // its duplicate lives on
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(len(l.conns))}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	l.conns = append(l.conns, loadConn{fd: fd})
	return nil
}

func (l *epollLoad) close() {
	for _, c := range l.conns {
		_ = unix.Close(c.fd) // nothing depends on it any more
	}
	_ = unix.Close(l.epoll)
}

func (l *epollLoad) reset() { l.latencies.Reset() }

// run keeps every connection busy for d.
func (l *epollLoad) run(d time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := time.Now()
	open := 0
	for i := range l.conns {
		if err := l.send(&l.conns[i]); err != nil {
			return err
		}
		open++
	}
	var events [256]unix.EpollEvent
	reply := make([]byte, messageSize)
	for open > 0 {
		n, err := unix.EpollWait(l.epoll, events[:], 5000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("epoll_wait", err)
		}
		if n == 0 {
			return fmt.Errorf("no reply for 5 s on %d of %d connections", open, len(l.conns))
		}
		for _, event := range events[:n] {
			c := &l.conns[event.Fd]
			done, err := l.receive(c, reply)
			if err != nil {
				return err
			}
			switch {
			case !done:
			case time.Since(began) < d:
				err = l.send(c)
			default:
				open--
			}
			if err != nil {
				return err
			}
		}
	}
	l.elapsed = time.Since(began)
	return nil
}

func (l *epollLoad) send(c *loadConn) error {
	c.got, c.sent = 0, time.Now()
	n, err := unix.Write(c.fd, l.request)
	if err != nil || n != len(l.request) {
		return fmt.Errorf("write: %d bytes, %w", n, err)
	}
	return nil
}

func (l *epollLoad) receive(c *loadConn, reply []byte) (done bool, err error) {
	n, err := unix.Read(c.fd, reply[c.got:])
	if errors.Is(err, unix.EAGAIN) {
		return false, nil
	}
	if err != nil || n == 0 {
		return false, fmt.Errorf("read: %d bytes, %w", n, err)
	}
	c.got += n
	if c.got < len(reply) {
		return false, nil
	}
	return true, l.latencies.RecordValue(int64(time.Since(c.sent)))
}
