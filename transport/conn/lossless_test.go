package conn_test

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// sums are what a peer got: how many bytes, and their checksum.
type sums struct {
	bytes int
	crc   uint32
}

func (s *sums) add(p []byte) {
	s.bytes += len(p)
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p)
}

// sizes are interesting amounts of bytes, and random ones up to 4 MiB.
func sizes(n int) []int {
	all := []int{1, 2, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 1 << 20, 4 << 20}
	for range n {
		all = append(all, 1+rand.IntN(1<<(1+rand.IntN(22))))
	}
	return all
}

// TestBytesThenFIN: a client writes N bytes and closes at once; the handler sees exactly those,
// then the end, once.
func TestBytesThenFIN(t *testing.T) {
	for _, network := range networks {
		for _, lingering := range []int{0, -1} {
			t.Run(network, func(t *testing.T) {
				g := newGroup(t, conn.GroupConfig{MaxLingering: lingering})
				ended := make(chan sums, 1)
				s := startServer(t, network, conn.ServerConfig{Group: g, Config: conn.Config{
					OnPrepare: func(c *conn.Conn) context.Context {
						got := &sums{}
						c.SetAttachment(got)
						_ = c.AddCloseCallback(func(c *conn.Conn) {
							if c.Err() != io.EOF {
								t.Errorf("got cause %v, want %v", c.Err(), io.EOF)
							}
							ended <- *got
						})
						return nil
					},
					OnRequest: func(_ context.Context, c *conn.Conn) error {
						r := c.Reader()
						p, err := r.Next(1 + rand.IntN(r.Len()))
						if got, ok := c.Attachment().(*sums); ok {
							got.add(p)
						}
						return err
					},
				}})
				for _, n := range sizes(testkit.Rounds(150)) {
					p := randomBytes(n)
					var want sums
					want.add(p)
					c := dial(t, network, s.address)
					if _, err := c.Write(p); err != nil {
						t.Error(err)
					}
					c.Close()
					if got := testkit.Receive(t, "end of the connection", ended); got != want {
						t.Fatalf("got %v, want %v", got, want)
					}
				}
			})
		}
	}
}

var noise = func() []byte {
	p := make([]byte, 8<<20)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(p)
	return p
}()

// randomBytes returns n random bytes, which must not be changed.
func randomBytes(n int) []byte {
	at := rand.IntN(len(noise) - n + 1)
	return noise[at : at+n]
}

// TestSendThenClose: what this side wrote before it closed arrives, wherever Close was called.
func TestSendThenClose(t *testing.T) {
	for _, network := range networks {
		for _, where := range []string{"OnConnect", "OnRequest", "OnRequest, by Close"} {
			t.Run(network+"/"+where, func(t *testing.T) {
				var payload atomic.Pointer[[]byte]
				send := func(c *conn.Conn) {
					if _, err := c.Writer().WriteBinary(*payload.Load()); err != nil {
						t.Error(err)
					}
					testkit.Check(t, c.Writer().Flush())
				}
				cfg := conn.Config{}
				switch where {
				case "OnConnect":
					cfg.OnConnect = func(_ context.Context, c *conn.Conn) context.Context { send(c); c.Close(); return nil }
				case "OnRequest":
					cfg.OnRequest = func(_ context.Context, c *conn.Conn) error {
						send(c)
						return errors.Join(c.Reader().Skip(c.Reader().Len()), errors.New("enough"))
					}
				default:
					cfg.OnRequest = func(_ context.Context, c *conn.Conn) error {
						send(c)
						return errors.Join(c.Reader().Skip(c.Reader().Len()), c.Close())
					}
				}
				s := startServer(t, network, conn.ServerConfig{Config: cfg})
				for _, n := range sizes(testkit.Rounds(20)) {
					p := randomBytes(n)
					payload.Store(&p)
					c := s.dial(t)
					if where != "OnConnect" {
						if _, err := c.Write([]byte("x")); err != nil {
							t.Error(err)
						}
					}
					got, err := io.ReadAll(c)
					if err != nil || !bytes.Equal(got, p) {
						t.Fatalf("got %d bytes, %v, want %d", len(got), err, n)
					}
					c.Close()
				}
			})
		}
	}
}

// TestOneway: a request with the FIN right behind it is handled, whatever the server is busy with.
func TestOneway(t *testing.T) {
	handled := make(chan string, 1)
	s := startServer(t, "tcp", conn.ServerConfig{Config: conn.Config{
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			if c.Reader().Len() < 8 {
				return nil
			}
			p, err := c.Reader().ReadString(8)
			handled <- p
			return err
		},
	}})
	for range testkit.Rounds(500) {
		c := dial(t, "tcp", s.address)
		_, _ = c.Write([]byte("one"))
		_, _ = c.Write([]byte("way--"))
		c.Close()
		if got := testkit.Receive(t, "the request", handled); got != "oneway--" {
			t.Fatalf("got %q", got)
		}
	}
	testkit.Eventually(t, "all connections closed", func() bool { return s.ConnCount() == 0 })
}

// TestEchoStreams sends random chunks both ways at once and compares.
func TestEchoStreams(t *testing.T) {
	for _, network := range append(networks, "pipe") {
		for _, grouped := range []bool{true, false} {
			t.Run(network, func(t *testing.T) {
				var g *conn.Group
				if grouped {
					g = newGroup(t, conn.GroupConfig{})
				}
				a, b := netPair(t, network)
				client := newConn(t, a, conn.Config{}, g)
				defer client.Close()
				server := newConn(t, b, conn.Config{OnRequest: echo}, g)
				defer server.Close()
				const total = 4 << 20
				var wg sync.WaitGroup
				wg.Go(func() {
					for sent := 0; sent < total; {
						n := min(1+rand.IntN(100_000), total-sent)
						if rand.IntN(2) == 0 {
							_, _ = client.Writer().WriteBinary(noise[sent : sent+n])
							if err := client.Writer().Flush(); err != nil {
								t.Error(err)
								return
							}
						} else if _, err := client.Write(noise[sent : sent+n]); err != nil {
							t.Error(err)
							return
						}
						sent += n
					}
				})
				for got := 0; got < total; {
					n := min(1+rand.IntN(100_000), total-got)
					p, err := client.Reader().Next(n)
					testkit.Must(t, err)
					if !bytes.Equal(p, noise[got:got+n]) {
						t.Fatalf("bytes %d to %d differ", got, got+n)
					}
					got += n
					_ = client.Reader().Release()
				}
				wg.Wait()
			})
		}
	}
}
