package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/server"
	ktransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport"
)

// kitexHandler implements the service for Kitex-generated code.
type kitexHandler struct {
	mu       sync.Mutex
	notified *echo.Message
}

var _ echo.EchoService = (*kitexHandler)(nil)

// Echo implements echo.EchoService.
func (h *kitexHandler) Echo(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	return &echo.EchoResponse{Message: r.Message, ReceivedAt: new(echo.MillisSinceEpoch(42))}, nil
}

// EchoPayload implements echo.EchoService.
func (h *kitexHandler) EchoPayload(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
	return p, nil
}

// Store implements echo.EchoService.
func (h *kitexHandler) Store(_ context.Context, _ string, m *echo.Message) error {
	return expect("stored message", sameKitex(m), m)
}

// Find implements echo.EchoService.
func (h *kitexHandler) Find(_ context.Context, key string) (*echo.Message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case key == "full":
		return kitexMessage(), nil
	case key == "notified" && h.notified != nil:
		return h.notified, nil
	}
	return nil, &echo.NotFound{Key: key, Reason: "never stored"}
}

// Repeat implements echo.EchoService.
func (h *kitexHandler) Repeat(_ context.Context, text string, count int32, separator string) (string, error) {
	if count < 0 {
		return "", errors.New("negative count")
	}
	return strings.TrimSuffix(strings.Repeat(text+separator, int(count)), separator), nil
}

// Notify implements echo.EchoService.
func (h *kitexHandler) Notify(_ context.Context, m *echo.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notified = m
	return nil
}

func kitexMessage() *echo.Message {
	reply := echo.NewMessage()
	reply.Text = "re"
	m := echo.NewMessage()
	m.Text = "Grüße, 世界"
	m.Author = &echo.Author{Name: "Ada", Email: new("ada@example.org")}
	m.Priority = echo.Priority_HIGH
	m.Tags = []string{"a", "", "b"}
	m.Recipients = []int64{-1, 1 << 62}
	m.Attributes = map[string]string{"k": "v", "": ""}
	m.Attachment = []byte{0, 1, 255}
	m.SentAt = new(echo.MillisSinceEpoch(1234567890123))
	m.Language = "fr"
	m.Urgent, m.Channel, m.Retries, m.Views, m.Rating = true, -128, -32768, -2147483648, 0.1
	m.Replies = []*echo.Message{reply}
	m.ReadersByDay = map[int32][]*echo.Author{-5: {{Name: "Grace"}}, 300: {}}
	return m
}

func sameKitex(m *echo.Message) bool {
	if m == nil {
		return false
	}
	got := *m
	got.Recipients = slices.Sorted(slices.Values(m.Recipients))
	return same(&got, kitexMessage())
}

func kitexServer(ln net.Listener) (stop func() error, err error) {
	klog.SetLevel(klog.LevelFatal)
	s := echoservice.NewServer(new(kitexHandler),
		server.WithSuite(transport.NewServerSuite()), server.WithListener(ln))
	served := make(chan error, 1)
	go func() { served <- s.Run() }()
	return func() error { return errors.Join(s.Stop(), <-served) }, nil
}

func kitexClient(ctx context.Context, addr, wire string) error {
	protocol := ktransport.Framed
	switch wire {
	case "framed-binary":
	case "unframed-binary":
		protocol = ktransport.PurePayload
	default:
		return fmt.Errorf("no wire of Kitex: %s", wire)
	}
	c, err := echoservice.NewClient("echo", client.WithSuite(transport.NewClientSuite()),
		client.WithHostPorts(addr), client.WithTransportProtocol(protocol))
	if err != nil {
		return err
	}
	return errors.Join(checkKitex(ctx, c), checkKitexFailures(ctx, c))
}

// checkKitex makes the calls that succeed.
func checkKitex(ctx context.Context, c echoservice.Client) error {
	r, err := c.Echo(ctx, &echo.EchoRequest{Message: kitexMessage()})
	if err != nil {
		return fmt.Errorf("Echo: %w", err)
	}
	if err := expect("Echo", sameKitex(r.Message) && r.GetReceivedAt() == 42, r); err != nil {
		return err
	}
	for _, size := range payloadSizes() {
		p, err := c.EchoPayload(ctx, &echo.Payload{Data: pattern(size), Label: fmt.Sprint(size)})
		if err != nil {
			return fmt.Errorf("EchoPayload of %d bytes: %w", size, err)
		}
		if err := expect("EchoPayload", bytes.Equal(p.Data, pattern(size)) && p.Label == fmt.Sprint(size), p.Label); err != nil {
			return err
		}
	}
	if err := c.Store(ctx, "full", kitexMessage()); err != nil {
		return fmt.Errorf("Store: %w", err)
	}
	m, err := c.Find(ctx, "full")
	if err := errors.Join(err, expect("Find", sameKitex(m), m)); err != nil {
		return err
	}
	text, err := c.Repeat(ctx, "ab", 3, "-")
	return errors.Join(err, expect("Repeat", text == "ab-ab-ab", text))
}

// checkKitexFailures makes the calls that fail, and one without an answer.
func checkKitexFailures(ctx context.Context, c echoservice.Client) error {
	_, err := c.Find(ctx, "none")
	var missing *echo.NotFound
	found := errors.As(err, &missing) && missing.Key == "none" && missing.Reason == "never stored"
	if err := expect("Find of a missing key", found, err); err != nil {
		return err
	}
	if _, err = c.Repeat(ctx, "x", -1, ""); err == nil {
		return errors.New("the failing Repeat returned")
	}
	if err := c.Notify(ctx, kitexMessage()); err != nil {
		return fmt.Errorf("Notify: %w", err)
	}
	m, err := c.Find(ctx, "notified")
	return errors.Join(err, expect("what was notified", sameKitex(m), m))
}
