package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
)

// service implements idl/echo.thrift's EchoService.
type service struct {
	notified atomic.Int64

	mu       sync.Mutex
	messages map[string]*echo.Message // guarded by mu
}

var _ echo.EchoService = (*service)(nil)

func newService() *service { return &service{messages: make(map[string]*echo.Message)} }

// Echo answers with the request's message, after its delay.
func (s *service) Echo(ctx context.Context, request *echo.EchoRequest) (*echo.EchoResponse, error) {
	if delay := time.Duration(request.DelayMillis) * time.Millisecond; delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	now := time.Now().UnixMilli()
	return &echo.EchoResponse{Message: request.Message, ReceivedAt: &now}, nil
}

// EchoPayload answers with its argument.
func (s *service) EchoPayload(_ context.Context, payload *echo.Payload) (*echo.Payload, error) {
	return payload, nil
}

// Store keeps message under key.
func (s *service) Store(_ context.Context, key string, message *echo.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages[key] = message
	return nil
}

// Find answers with the message kept under key, or the declared exception.
func (s *service) Find(_ context.Context, key string) (*echo.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	message, ok := s.messages[key]
	if !ok {
		return nil, &echo.NotFound{Key: key, Reason: "nothing was stored under this key"}
	}
	return message, nil
}

// Repeat answers with count copies of text.
func (s *service) Repeat(_ context.Context, text string, count int32, separator string) (string, error) {
	if count < 0 || count > echo.MAX_REPEATS {
		return "", fmt.Errorf("count is %d, want 0 to %d", count, echo.MAX_REPEATS)
	}
	copies := make([]string, count)
	for i := range copies {
		copies[i] = text
	}
	return strings.Join(copies, separator), nil
}

// Notify counts the message. It is a oneway: the client does not wait for a reply.
func (s *service) Notify(context.Context, *echo.Message) error {
	s.notified.Add(1)
	return nil
}
