package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

const (
	attackers   = 20
	readTimeout = 100 * time.Millisecond
)

// request is what an attacker sends. The server must close the connection, if necessary after its
// read timeout.
type request struct {
	name  string
	bytes func(t testing.TB) []byte
	after after
}

// after says what happens after a request.
type after int

const (
	closes after = iota // the server closes the connection
	keeps               // Kitex waits without a timeout until the client closes
)

func fixed(b ...byte) func(testing.TB) []byte { return func(testing.TB) []byte { return b } }
func text(s string) func(testing.TB) []byte   { return fixed([]byte(s)...) }

// changed is a valid call in a frame with other bytes at an offset.
func changed(offset int, b ...byte) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		frame := harness.EchoFrame(t, "hello")
		copy(frame[offset:], b)
		return frame
	}
}

// ttheader is a TTHeader frame with the given first bytes and without its payload.
func ttheader(size uint32, flags uint16, headerWords uint16, rest ...byte) func(testing.TB) []byte {
	return func(testing.TB) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		b = binary.BigEndian.AppendUint16(b, 0x1000)
		b = binary.BigEndian.AppendUint16(b, flags)
		b = binary.BigEndian.AppendUint32(b, 1) // sequence ID
		b = binary.BigEndian.AppendUint16(b, headerWords)
		return append(b, rest...)
	}
}

var requests = []request{
	{"text", text("this is no RPC\r\n"), closes},
	{"HTTP/1", text("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), closes},
	{"TLS", fixed(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 1, 2, 3, 4), closes},
	{"zeros", fixed(make([]byte, 64)...), closes},
	{"ones", text("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), closes},
	{"one byte", fixed(0), closes},
	{"seven bytes, one less than detection needs", fixed(0, 0, 0, 9, 0x80, 1, 0), closes},
	{"frame of 2 GiB", changed(0, 0x7f, 0xff, 0xff, 0xff), closes},
	{"frame of negative size", changed(0, 0x80, 0, 0, 1), closes},
	{"frame that is too short for its message", changed(0, 0, 0, 0, 12), closes},
	{"frame that is longer than what comes", changed(0, 0, 1, 0, 0), closes},
	{"method name of 2 GiB", changed(8, 0x7f, 0xff, 0xff, 0xff), closes},
	{"unknown message type", changed(7, 9), closes},
	{"argument of an unknown type", changed(20, 0xee), closes},
	{"string of negative size", changed(30, 0xff, 0xff, 0xff, 0xff), closes},
	{"TTHeader of 2 GiB", ttheader(0x7fffffff, 0, 1, 0, 0, 0, 0), closes},
	{"TTHeader with a header longer than the frame", ttheader(20, 0, 0xffff, make([]byte, 64)...), closes},
	{"TTHeader without a header", ttheader(10, 0, 0), closes},
	{"TTHeader with unknown infos", ttheader(14, 0, 1, 0, 0, 0x7f, 0x7f), closes},
	{"TTHeader streaming with garbage", ttheader(14, 2, 1, 0xff, 0xff, 0xff, 0xff), closes},
	{"MeshHeader with garbage", fixed(0xff, 0xaf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), closes},
	{"gRPC preface with garbage", text("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame of HTTP/2, as far as one can tell"), closes},
	{"half a gRPC preface", text("PRI * HTTP/2."), keeps},
}

// Garbage ends its own connection, with an error reply or without.
func TestGarbage(t *testing.T) {
	s := harness.Echo(t, harness.Kiteline, new(harness.Service), server.WithReadWriteTimeout(readTimeout))
	for _, r := range requests {
		t.Run(r.name, func(t *testing.T) {
			logs := harness.NewLogs(t)
			b := harness.NewBystander(t, s)
			base := harness.NewBaseline()
			before := s.Connections.Accepted()
			sent := r.bytes(t)
			errs := make([]error, attackers)
			var wg sync.WaitGroup
			for n := range attackers {
				wg.Go(func() { errs[n] = send(s.Addr, sent, r.after != keeps) })
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Error(err)
			}
			testkit.Eventually(t, "the server has seen all", func() bool { return s.Connections.Accepted() >= before+attackers })
			testkit.Settles(t, "open connections, the bystander's", s.Connections.Open, 1)
			b.Finish(t)
			if got := s.Connections.Accepted() - before; got != attackers {
				t.Errorf("new connections: got %v, want the attackers' %v: the bystander's was replaced", got, attackers)
			}
			base.Restored(t)
			logs.Check(t)
		})
	}
}

// send returns an error unless the server closes the connection. Without await it does not wait for
// that.
func send(addr net.Addr, sent []byte, await bool) error {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		return err
	}
	if _, err := c.Write(sent); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	buf := make([]byte, 4096)
	for err = nil; await && err == nil; {
		_, err = c.Read(buf)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the server did not close the connection")
	}
	return nil
}
