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

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
	"github.com/kiteline/kiteline/transport/conn"
)

// apacheHandler implements the service for Apache-generated code.
type apacheHandler struct {
	mu       sync.Mutex
	notified *echo.Message
}

var _ echo.EchoService = (*apacheHandler)(nil)

// Echo implements echo.EchoService.
func (h *apacheHandler) Echo(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	at := echo.MillisSinceEpoch(42)
	return &echo.EchoResponse{Message: r.Message, ReceivedAt: &at}, nil
}

// EchoPayload implements echo.EchoService.
func (h *apacheHandler) EchoPayload(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
	return p, nil
}

// Store implements echo.EchoService.
func (h *apacheHandler) Store(_ context.Context, _ string, m *echo.Message) error {
	return expect("stored message", sameApache(m), m)
}

// Find implements echo.EchoService.
func (h *apacheHandler) Find(_ context.Context, key string) (*echo.Message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case key == "full":
		return apacheMessage(), nil
	case key == "notified" && h.notified != nil:
		return h.notified, nil
	}
	return nil, &echo.NotFound{Key: key, Reason: "never stored"}
}

// Repeat implements echo.EchoService.
func (h *apacheHandler) Repeat(_ context.Context, text string, count int32, separator string) (string, error) {
	if count < 0 {
		return "", errors.New("negative count")
	}
	return strings.TrimSuffix(strings.Repeat(text+separator, int(count)), separator), nil
}

// Notify implements echo.EchoService.
func (h *apacheHandler) Notify(_ context.Context, m *echo.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notified = m
	return nil
}

func apacheMessage() *echo.Message {
	email, sent := "ada@example.org", echo.MillisSinceEpoch(1234567890123)
	reply := echo.NewMessage()
	reply.Text = "re"
	m := echo.NewMessage()
	m.Text = "Grüße, 世界"
	m.Author = &echo.Author{Name: "Ada", Email: &email}
	m.Priority = echo.Priority_HIGH
	m.Tags = []string{"a", "", "b"}
	m.Recipients = []int64{-1, 1 << 62}
	m.Attributes = map[string]string{"k": "v", "": ""}
	m.Attachment = []byte{0, 1, 255}
	m.SentAt = &sent
	m.Language = "fr"
	m.Urgent, m.Channel, m.Retries, m.Views, m.Rating = true, -128, -32768, -2147483648, 0.1
	m.Replies = []*echo.Message{reply}
	m.ReadersByDay = map[int32][]*echo.Author{-5: {{Name: "Grace"}}, 300: {}}
	return m
}

func sameApache(m *echo.Message) bool {
	if m == nil {
		return false
	}
	got := *m
	got.Recipients = slices.Sorted(slices.Values(m.Recipients))
	return same(&got, apacheMessage())
}

func apacheServer(ln net.Listener) (stop func() error, err error) {
	s, err := apache.NewServer(apache.ServerConfig{
		Processor: echo.NewEchoServiceProcessor(new(apacheHandler)),
		OnClose: func(c *conn.Conn, reason error) {
			var broken thrift.TException
			if errors.As(reason, &broken) {
				fmt.Println(c.RemoteAddr(), reason)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	return func() error { return errors.Join(s.Close(), <-served) }, nil
}

func apacheClient(ctx context.Context, addr, wire string) error {
	conf := new(thrift.TConfiguration)
	w := apache.WireHeader
	switch wire {
	case "framed-binary":
		w = apache.WireFramedBinary
	case "framed-compact":
		w = apache.WireFramedCompact
	case "unframed-binary":
		w = apache.WireUnframedBinary
	case "unframed-compact":
		w = apache.WireUnframedCompact
	case "header-binary":
	case "header-compact":
		conf.THeaderProtocolID = new(thrift.THeaderProtocolCompact)
	default:
		return fmt.Errorf("unknown wire %q", wire)
	}
	t, err := apache.Dial(ctx, apache.ClientConfig{Address: addr, Wire: w, Configuration: conf})
	if err != nil {
		return err
	}
	c := echo.NewEchoServiceClient(t)
	return errors.Join(checkApache(ctx, c), checkApacheFailures(ctx, c), t.Close())
}

// checkApache makes the calls that succeed.
func checkApache(ctx context.Context, c *echo.EchoServiceClient) error {
	r, err := c.Echo(ctx, &echo.EchoRequest{Message: apacheMessage()})
	if err != nil {
		return fmt.Errorf("Echo: %w", err)
	}
	if err := expect("Echo", sameApache(r.Message) && r.GetReceivedAt() == 42, r); err != nil {
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
	if err := c.Store(ctx, "full", apacheMessage()); err != nil {
		return fmt.Errorf("Store: %w", err)
	}
	m, err := c.Find(ctx, "full")
	if err := errors.Join(err, expect("Find", sameApache(m), m)); err != nil {
		return err
	}
	text, err := c.Repeat(ctx, "ab", 3, "-")
	return errors.Join(err, expect("Repeat", text == "ab-ab-ab", text))
}

// checkApacheFailures makes the calls that fail, and one without an answer.
func checkApacheFailures(ctx context.Context, c *echo.EchoServiceClient) error {
	_, err := c.Find(ctx, "none")
	var missing *echo.NotFound
	found := errors.As(err, &missing) && missing.Key == "none" && missing.Reason == "never stored"
	if err := expect("Find of a missing key", found, err); err != nil {
		return err
	}
	_, err = c.Repeat(ctx, "x", -1, "")
	var failed thrift.TApplicationException
	if err := expect("the failing Repeat", errors.As(err, &failed), err); err != nil {
		return err
	}
	if err := c.Notify(ctx, apacheMessage()); err != nil {
		return fmt.Errorf("Notify: %w", err)
	}
	m, err := c.Find(ctx, "notified")
	return errors.Join(err, expect("what was notified", sameApache(m), m))
}
