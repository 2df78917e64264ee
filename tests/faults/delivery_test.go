package faults

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
	"github.com/kiteline/kiteline/transport/conn"
)

// How many times bytes are written and followed by the end.
var (
	toServer    = testkit.Scale(1200, 100_000)
	fromConnect = testkit.Scale(300, 50_000)
	fromHandler = testkit.Scale(300, 50_000)
)

const mostBytes = 4 << 20

// noise is what is sent, from a random byte on.
var noise = func() []byte {
	p := make([]byte, 2*mostBytes)
	_, _ = rand.NewChaCha8([32]byte{4}).Read(p) // always nil
	return p
}()

// someBytes returns 1 byte to 4 MiB, with every order of magnitude equally often, and more often
// the sizes around which something changes.
func someBytes(rnd *rand.Rand) []byte {
	var n int
	if rnd.IntN(4) == 0 {
		edges := [...]int{1, 4 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20}
		n = max(1, edges[rnd.IntN(len(edges))]-1+rnd.IntN(3))
	} else {
		n = 1 + rnd.IntN(1<<rnd.IntN(23))
	}
	n = min(n, mostBytes)
	at := rnd.IntN(len(noise) - n + 1)
	return noise[at : at+n]
}

// sum is how many bytes came, which bytes, and how often and how they ended.
type sum struct {
	bytes int
	crc   uint32
	end   error
}

func sumOf(p []byte) sum { return sum{len(p), crc32.ChecksumIEEE(p), io.EOF} }

func (s *sum) add(p []byte) {
	s.bytes += len(p)
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p)
}

// line is a server. Its connections go to one test goroutine, one after the other.
type line struct {
	network, address string
	group            *conn.Group // for clients; nil: each has a goroutine, or its user's
	ended            chan sum    // what a connection has received by its end

	sending atomic.Pointer[[]byte] // what one side writes; changed only while no connection is open
}

// toSend returns what one side writes.
func (l *line) toSend() []byte { return *l.sending.Load() }

// serve starts a server whose connections behave as cfg says.
func (l *line) serve(t *testing.T, network string, cfg conn.ServerConfig) {
	t.Helper()
	ln := harness.Listen(t, network)
	s, err := conn.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	l.network, l.address = network, ln.Addr().String()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
}

// dial opens a connection, alternately the standard library's and one of ours in the line's group.
func (l *line) dial(ours bool) (net.Conn, error) {
	if ours {
		d := conn.Dialer{Group: l.group}
		return d.DialTimeout(l.network, l.address, testkit.Patience)
	}
	return net.Dial(l.network, l.address)
}

// servings are the ways in which a server waits for bytes.
var servings = []struct {
	name string
	cfg  conn.GroupConfig
}{
	{"lingering", conn.GroupConfig{}},
	{"dormant", conn.GroupConfig{MaxLingering: -1}},
}

// onLines runs round as many times as wanted on each kind of line, on several at a time, and
// records the number.
func onLines(t *testing.T, what string, rounds int, open func(t *testing.T, l *line, network string, g *conn.Group), round func(l *line, rnd *rand.Rand) error) {
	promise.Among(t)
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			began := time.Now()
			var exact, bytes atomic.Int64
			var all sync.WaitGroup
			each := rounds / len(servings) / 2
			for i, s := range servings {
				g, err := conn.NewGroup(s.cfg)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := g.Close(); err != nil {
						t.Error(err)
					}
				})
				for j := range 2 {
					l := &line{group: g, ended: make(chan sum, 4)}
					open(t, l, network, g)
					all.Go(func() {
						rnd := rand.New(rand.NewPCG(uint64(i), uint64(j)))
						for n := range each {
							if err := round(l, rnd); err != nil {
								t.Errorf("%s, round %d: %v", s.name, n, err)
								return
							}
							exact.Add(1)
							bytes.Add(int64(len(l.toSend())))
						}
					})
				}
			}
			all.Wait()
			wanted := int64(each * 2 * len(servings))
			t.Logf("%d GiB in %v", bytes.Load()>>30, time.Since(began).Round(time.Second))
			promise.Check(t, what+", "+network, fmt.Sprintf("%d of %d exact", wanted, wanted),
				fmt.Sprintf("%d of %d", exact.Load(), wanted), exact.Load() == wanted)
		})
	}
}

// TestWriteThenFIN: a client writes and closes at once. The server gets exactly that, whatever part
// of it each call of OnRequest takes, and learns of the end once.
func TestWriteThenFIN(t *testing.T) {
	onLines(t, "bytes, then FIN", toServer, openCounting, func(l *line, rnd *rand.Rand) error {
		sending := someBytes(rnd)
		l.sending.Store(&sending)
		c, err := l.dial(rnd.IntN(2) == 0)
		if err != nil {
			return err
		}
		if err := writeAndClose(c, l.toSend(), rnd); err != nil {
			return err
		}
		return l.want(sumOf(l.toSend()))
	})
}

// openCounting makes the line's server count.
func openCounting(t *testing.T, l *line, network string, g *conn.Group) {
	type connection struct {
		sum
		ends, disconnects int
	}
	l.serve(t, network, conn.ServerConfig{Group: g, Config: conn.Config{
		OnPrepare: func(c *conn.Conn) context.Context {
			got := &connection{}
			c.SetAttachment(got)
			c.SetOnDisconnect(func(context.Context, *conn.Conn) { got.disconnects++ })
			_ = c.AddCloseCallback(func(c *conn.Conn) {
				if got.ends++; got.ends != 1 || got.disconnects != 1 {
					t.Errorf("the end came %d times, and was told %d times", got.ends, got.disconnects)
				}
				got.end = c.Err()
				l.ended <- got.sum
			})
			return nil
		},
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			p, err := c.Reader().Next(1 + rand.IntN(c.Reader().Len()))
			if got, ok := c.Attachment().(*connection); ok {
				got.add(p)
			}
			return err
		},
	}})
}

// writeAndClose writes p in one of several ways, and closes.
func writeAndClose(nc net.Conn, p []byte, rnd *rand.Rand) error {
	defer nc.Close()
	c, ours := nc.(*conn.Conn)
	if ours && rnd.IntN(2) == 0 {
		_, err := c.Writer().WriteBinary(p)
		return errors.Join(err, c.Writer().Flush())
	}
	at := rnd.IntN(len(p))
	_, err := nc.Write(p[:at])
	_, err2 := nc.Write(p[at:])
	return errors.Join(err, err2)
}

// want waits for the end of the connection.
func (l *line) want(want sum) error {
	timer := time.NewTimer(4 * testkit.Patience)
	defer timer.Stop()
	select {
	case got := <-l.ended:
		if got != want {
			return fmt.Errorf("got %d bytes (%08x), then %w, want %d (%08x)", got.bytes, got.crc, got.end, want.bytes, want.crc)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("after %d bytes nothing was heard of the end", want.bytes)
	}
}

// send writes the bytes that the line's server sends.
func (l *line) send(c *conn.Conn) error {
	p := l.toSend()
	if len(p)%2 == 0 {
		_, err := c.Write(p)
		return err
	}
	_, err := c.Writer().WriteBinary(p)
	return errors.Join(err, c.Writer().Flush())
}

// TestSendAndCloseInOnConnect: what is written in OnConnect before Close arrives.
func TestSendAndCloseInOnConnect(t *testing.T) {
	onLines(t, "send and close in OnConnect", fromConnect, func(t *testing.T, l *line, network string, g *conn.Group) {
		l.serve(t, network, conn.ServerConfig{Group: g, Config: conn.Config{
			OnConnect: func(_ context.Context, c *conn.Conn) context.Context {
				if err := errors.Join(l.send(c), c.Close()); err != nil {
					t.Error(err)
				}
				return nil
			},
		}})
	}, func(l *line, rnd *rand.Rand) error {
		sending := someBytes(rnd)
		l.sending.Store(&sending)
		c, err := l.dial(rnd.IntN(2) == 0)
		if err != nil {
			return err
		}
		defer c.Close()
		return receiveAll(c, l.toSend(), rnd)
	})
}

// TestSendAndCloseInHandler: what a handler writes arrives, whether the handler closes the
// connection itself, fails, or another goroutine closes it after the write.
func TestSendAndCloseInHandler(t *testing.T) {
	errEnough := errors.New("enough")
	onLines(t, "send and close in a handler", fromHandler, func(t *testing.T, l *line, network string, g *conn.Group) {
		l.serve(t, network, conn.ServerConfig{Group: g, Config: conn.Config{
			OnRequest: func(_ context.Context, c *conn.Conn) error {
				how, err := c.Reader().ReadByte()
				if err := errors.Join(err, l.send(c)); err != nil {
					t.Error(err)
				}
				switch how {
				case 0:
					return errEnough
				case 1:
					return c.Close()
				}
				closed := make(chan struct{})
				go func() { c.Close(); close(closed) }()
				<-closed
				return nil
			},
		}})
	}, func(l *line, rnd *rand.Rand) error {
		sending := someBytes(rnd)
		l.sending.Store(&sending)
		c, err := l.dial(rnd.IntN(2) == 0)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte{byte(rnd.IntN(3))}); err != nil {
			return err
		}
		return receiveAll(c, l.toSend(), rnd)
	})
}

// receiveAll reads to the end, by Read or by the nocopy Reader, and compares.
func receiveAll(nc net.Conn, want []byte, rnd *rand.Rand) error {
	if err := nc.SetReadDeadline(time.Now().Add(4 * testkit.Patience)); err != nil {
		return err
	}
	var got sum
	if c, ours := nc.(*conn.Conn); ours && rnd.IntN(2) == 0 {
		got = readSum(c, rnd)
	} else {
		buf := make([]byte, 1+rnd.IntN(64<<10))
		for got.end == nil {
			var n int
			n, got.end = nc.Read(buf)
			got.add(buf[:n])
		}
	}
	if wanted := sumOf(want); got != wanted {
		return fmt.Errorf("got %d bytes (%08x), then %w, want %d (%08x), then %w", got.bytes, got.crc, got.end, wanted.bytes, wanted.crc, wanted.end)
	}
	return nil
}

// readSum reads to the end in pieces of any size.
func readSum(c *conn.Conn, rnd *rand.Rand) (got sum) {
	r := c.Reader()
	for {
		p, err := r.Next(1 + rnd.IntN(64<<10))
		if err != nil {
			rest, _ := r.Next(r.Len()) // there are as many
			got.add(rest)
			got.end = err
			if errors.Is(err, io.ErrUnexpectedEOF) {
				got.end = io.EOF // inside what was asked for, which was any number
			}
			return got
		}
		got.add(p)
		_ = r.Release() // always nil here
	}
}
