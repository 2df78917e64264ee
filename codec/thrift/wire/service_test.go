package wire

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/conn"
)

// patience is how long a test waits for an expected event before it fails.
const patience = 20 * time.Second

// handler implements the echo service.
type handler struct {
	notified chan string // texts of Notify's messages

	mu   sync.Mutex
	team []string // guarded by mu: TEAM of the metainfo that came with Repeat, and whether it came
}

func newHandler() *handler { return &handler{notified: make(chan string, 1000)} }

func (*handler) Echo(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	return &echo.EchoResponse{Message: r.Message}, nil
}

func (*handler) EchoPayload(_ context.Context, p *echo.Payload) (*echo.Payload, error) { return p, nil }

// Store fails in the way that the key names.
func (*handler) Store(_ context.Context, key string, _ *echo.Message) error {
	switch key {
	case "biz":
		return kerrors.NewBizStatusError(4711, "out of kites")
	case "error":
		return errors.New("the handler's error")
	case "panic":
		panic("the handler's panic")
	}
	return nil
}

func (*handler) Find(_ context.Context, key string) (*echo.Message, error) {
	return nil, &echo.NotFound{Key: key, Reason: "never stored"}
}

func (h *handler) Repeat(ctx context.Context, text string, count int32, separator string) (string, error) {
	if team, ok := metainfo.GetPersistentValue(ctx, "TEAM"); ok {
		h.mu.Lock()
		h.team = append(h.team, team)
		h.mu.Unlock()
		metainfo.SendBackwardValue(ctx, "SCORE", "12")
	}
	return strings.TrimSuffix(strings.Repeat(text+separator, int(count)), separator), nil
}

func (h *handler) Notify(_ context.Context, m *echo.Message) error {
	h.notified <- m.Text
	return nil
}

// newGroup starts a group that ends with the test, or when stop is called.
func newGroup(t testing.TB) *conn.Group {
	t.Helper()
	g, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// start runs a server on Kiteline until the test ends and returns its address. It is already
// listening. The test must call it: a Stop before the server runs would have no effect. The options
// given win over those that start sets.
func start(t testing.TB, g *conn.Group, create func(opts ...server.Option) server.Server, opts ...server.Option) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := create(append([]server.Option{
		server.WithSuite(kiteline.NewServerSuite(kiteline.WithGroup(g))),
		server.WithListener(ln),
		server.WithExitSignal(func() <-chan error { return nil }),
		server.WithExitWaitTime(time.Second),
	}, opts...)...)
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	t.Cleanup(func() {
		if err := s.Stop(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("the server does not stop")
		}
	})
	return ln.Addr().String()
}

// startEcho runs the echo service with the codec until the test ends.
func startEcho(t testing.TB, h *handler, opts ...server.Option) string {
	t.Helper()
	return start(t, newGroup(t), func(opts ...server.Option) server.Server {
		return echoservice.NewServer(h, opts...)
	}, append([]server.Option{server.WithCodec(NewCodec(Config{}))}, opts...)...)
}

// newEcho returns a client of the service at address, whose connections end with the test.
func newEcho(t testing.TB, address string, opts ...client.Option) echoservice.Client {
	t.Helper()
	var seen *client.Options
	c, err := echoservice.NewClient("echo", append(opts,
		client.WithHostPorts(address), client.WithConnectTimeout(patience),
		client.Option{F: func(o *client.Options, _ *utils.Slice) { seen = o }})...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p := seen.RemoteOpt.ConnPool; p != nil {
			p.Close()
		}
	})
	return c
}

// fullMessage returns a message in which every field has a value.
func fullMessage() *echo.Message {
	email, sentAt := "ada@example.org", int64(-1)
	m := echo.NewMessage()
	m.Text, m.Language, m.Priority = "héllo", "de", echo.Priority_HIGH
	m.Author = &echo.Author{Name: "Ada", Email: &email}
	m.Tags, m.Recipients = []string{"a", ""}, []int64{1 << 62, -1 << 62, 0}
	m.Attributes = map[string]string{"k": "v"}
	m.Attachment, m.SentAt = bytes.Repeat([]byte{7}, 300), &sentAt
	m.Urgent, m.Channel, m.Retries, m.Views, m.Rating = true, -7, 1<<14, 1<<30, -0.25
	reply := echo.NewMessage()
	reply.Text = "reply"
	reply.Tags, reply.Recipients, reply.Attachment = []string{}, []int64{}, []byte{}
	reply.Attributes, reply.ReadersByDay = map[string]string{}, map[int32][]*echo.Author{}
	reply.Replies = []*echo.Message{}
	m.Replies = []*echo.Message{reply}
	m.ReadersByDay = map[int32][]*echo.Author{20: {{Name: "Bob"}}}
	return m
}
