package apache_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
	"github.com/kiteline/kiteline/internal/stock"
	"github.com/kiteline/kiteline/internal/testkit/leak"
	"github.com/kiteline/kiteline/transport/conn"
)

// patience is how long any step may take on a busy machine.
const patience = 20 * time.Second

// TestMain fails the run if goroutines, descriptors or blocks of memory outlive the tests.
func TestMain(m *testing.M) {
	stock.StartPollers()
	leak.Main(m, leak.Kitex()...)
}

// service is the handler of the tests.
type service struct {
	mu     sync.Mutex
	stored map[string]*echo.Message

	notified chan string // gets the text of each Notify; may be nil

	// hold, if not nil, is called by Repeat.
	hold func(ctx context.Context) error
	// onNotify, if not nil, is called by Notify.
	onNotify func(ctx context.Context)
}

var _ echo.EchoService = (*service)(nil)

func (s *service) Echo(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	return &echo.EchoResponse{Message: r.Message}, nil
}

func (s *service) EchoPayload(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
	return p, nil
}

func (s *service) Store(_ context.Context, key string, m *echo.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored == nil {
		s.stored = make(map[string]*echo.Message)
	}
	s.stored[key] = m
	return nil
}

func (s *service) Find(_ context.Context, key string) (*echo.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.stored[key]; m != nil {
		return m, nil
	}
	return nil, &echo.NotFound{Key: key, Reason: "never stored"}
}

func (s *service) Repeat(ctx context.Context, text string, count int32, separator string) (string, error) {
	if s.hold != nil {
		if err := s.hold(ctx); err != nil {
			return "", err
		}
	}
	if text == "panic" {
		panic("a handler's panic")
	}
	if count < 0 {
		return "", errors.New("negative count")
	}
	return strings.Join(repeated(text, int(count)), separator), nil
}

func repeated(text string, count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = text
	}
	return all
}

func (s *service) Notify(ctx context.Context, m *echo.Message) error {
	if s.onNotify != nil {
		s.onNotify(ctx)
	}
	if s.notified != nil {
		s.notified <- m.Text
	}
	return nil
}

// message returns a message with every field set.
func message() *echo.Message {
	email := "ada@example.org"
	sent := echo.MillisSinceEpoch(1234567890123)
	language := "fr"
	return &echo.Message{
		Text: "Grüße", Author: &echo.Author{Name: "Ada", Email: &email}, Priority: echo.Priority_HIGH,
		Tags: []string{"a", "", "b"}, Recipients: []int64{-1, 1 << 62}, Attributes: map[string]string{"k": "v", "": ""},
		Attachment: []byte{0, 1, 255}, SentAt: &sent, Language: language, Urgent: true, Channel: -128, Retries: -32768,
		Views: -2147483648, Rating: 0.1,
		Replies:      []*echo.Message{{Text: "re", Tags: []string{}, Recipients: []int64{}, Attributes: map[string]string{}, Attachment: []byte{}, Language: "en", Replies: []*echo.Message{}, ReadersByDay: map[int32][]*echo.Author{}, Priority: echo.Priority_NORMAL}},
		ReadersByDay: map[int32][]*echo.Author{-5: {{Name: "Grace"}}, 300: {}},
	}
}

// server is a Server under test.
type server struct {
	*apache.Server
	addr string
	t    testing.TB
	done chan error

	mu      sync.Mutex
	reasons []error
	ended   chan struct{} // gets one element for each connection that has ended
}

// start serves handler.
func start(t testing.TB, handler echo.EchoService, change func(*apache.ServerConfig)) *server {
	t.Helper()
	s := &server{t: t, done: make(chan error, 1), ended: make(chan struct{}, 1000)}
	cfg := apache.ServerConfig{Processor: echo.NewEchoServiceProcessor(handler), OnClose: s.closed}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.Server, err = apache.NewServer(cfg); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	go func() { s.done <- s.Serve(ln) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-s.done; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return s
}

func (s *server) closed(_ *conn.Conn, reason error) {
	s.mu.Lock()
	s.reasons = append(s.reasons, reason)
	s.mu.Unlock()
	s.ended <- struct{}{}
}

// reason waits until a connection has ended and returns the reason of the last one.
func (s *server) reason() error {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatal("no connection has ended")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reasons[len(s.reasons)-1]
}

// dial returns a client of wire w.
func (s *server) dial(w apache.Wire) (*echo.EchoServiceClient, *apache.Client) {
	s.t.Helper()
	c, err := apache.Dial(s.t.Context(), apache.ClientConfig{Address: s.addr, Wire: w})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return echo.NewEchoServiceClient(c), c
}

// connect opens a plain connection to the server.
func (s *server) connect() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// wires are the wires of clients.
var wires = []apache.Wire{
	apache.WireFramedBinary, apache.WireFramedCompact, apache.WireUnframedBinary, apache.WireUnframedCompact, apache.WireHeader,
}

// stockProtocol returns Apache's own transport and protocol for a wire, over t.
func stockProtocol(w apache.Wire, t thrift.TTransport, conf *thrift.TConfiguration) thrift.TProtocol {
	switch w {
	case apache.WireFramedBinary:
		return thrift.NewTBinaryProtocolConf(thrift.NewTFramedTransportConf(t, conf), conf)
	case apache.WireFramedCompact:
		return thrift.NewTCompactProtocolConf(thrift.NewTFramedTransportConf(t, conf), conf)
	case apache.WireUnframedBinary:
		return thrift.NewTBinaryProtocolConf(thrift.NewTBufferedTransport(t, 4096), conf)
	case apache.WireUnframedCompact:
		return thrift.NewTCompactProtocolConf(thrift.NewTBufferedTransport(t, 4096), conf)
	}
	return thrift.NewTHeaderProtocolConf(t, conf)
}
