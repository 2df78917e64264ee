package harness

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
)

// Service implements idl/echo.thrift. The zero value is ready.
type Service struct {
	// OnEcho replaces Echo, unless nil.
	OnEcho func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error)

	notified atomic.Int64

	mu       sync.Mutex
	messages map[string]*echo.Message // guarded by mu
}

var _ echo.EchoService = (*Service)(nil)

// Notified returns how many calls of Notify have come.
func (s *Service) Notified() int64 { return s.notified.Load() }

// Echo answers with the message of the request, after the delay that the request asks for.
func (s *Service) Echo(ctx context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	if s.OnEcho != nil {
		return s.OnEcho(ctx, r)
	}
	if r.DelayMillis > 0 {
		timer := time.NewTimer(time.Duration(r.DelayMillis) * time.Millisecond)
		defer timer.Stop()
		<-timer.C
	}
	return &echo.EchoResponse{Message: r.Message}, nil
}

// EchoPayload answers with its argument.
func (s *Service) EchoPayload(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
	return p, nil
}

// Store keeps message under key.
func (s *Service) Store(_ context.Context, key string, message *echo.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.messages == nil {
		s.messages = make(map[string]*echo.Message)
	}
	s.messages[key] = message
	return nil
}

// Find answers with the message kept under key, or the declared exception.
func (s *Service) Find(_ context.Context, key string) (*echo.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.messages[key]; ok {
		return m, nil
	}
	return nil, &echo.NotFound{Key: key, Reason: "not stored"}
}

// Repeat answers with count copies of text.
func (s *Service) Repeat(_ context.Context, text string, count int32, separator string) (string, error) {
	if count < 0 || count > echo.MAX_REPEATS {
		return "", fmt.Errorf("count is %d, want 0 to %d", count, echo.MAX_REPEATS)
	}
	copies := make([]string, count)
	for i := range copies {
		copies[i] = text
	}
	return strings.Join(copies, separator), nil
}

// Notify counts the message.
func (s *Service) Notify(context.Context, *echo.Message) error {
	s.notified.Add(1)
	return nil
}
