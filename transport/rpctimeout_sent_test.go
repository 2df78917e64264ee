package transport

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/retry"
	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/mux"
)

// hangsUp reads one request and ends its connection. It accepts no other.
func hangsUp(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		c, err := ln.Accept()
		ln.Close()
		if err != nil {
			return
		}
		defer c.Close()
		var got []byte
		p := make([]byte, 4<<10)
		for !bytes.Contains(got, []byte("the request")) {
			n, err := c.Read(p)
			got = append(got, p[:n]...)
			if err != nil {
				t.Errorf("the request did not come: %v", err)
				return
			}
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return ln.Addr().String()
}

// anyError makes Kitex try again after every error.
func anyError() client.Option {
	policy := retry.NewFailurePolicyWithResultRetry(&retry.ShouldResultRetry{
		ErrorRetryWithCtx: func(context.Context, error, rpcinfo.RPCInfo) bool { return true },
	})
	policy.StopPolicy.MaxRetryTimes = 1
	return client.WithFailureRetry(policy)
}

// TestNotSentCoversEveryAttempt: the peer has read a call's request before the call ends. Such a
// call does not count as not sent, whatever becomes of later attempts and whatever error comes
// back.
func TestNotSentCoversEveryAttempt(t *testing.T) {
	foreign := &CallError{Err: errOwn, notSent: true, why: context.DeadlineExceeded}
	cases := []struct {
		name string
		// attempt is the middleware. n counts its calls from 1.
		attempt func(n int, end func(), next func() error) error
		option  client.Option
		cause   error
	}{
		{name: "a middleware tries again", attempt: func(_ int, end func(), next func() error) error {
			_ = next()
			err := next()
			end()
			return err
		}},
		{name: "Kitex tries again", option: anyError(), attempt: func(n int, end func(), next func() error) error {
			err := next()
			if n == 2 {
				end()
			}
			return err
		}},
		{name: "another call's mux.Error", cause: mux.ErrOverloaded, attempt: func(_ int, end func(), next func() error) error {
			_ = next()
			end()
			return &mux.Error{Op: "begin", Err: mux.ErrOverloaded}
		}},
		{name: "another call's CallError", cause: foreign, attempt: func(_ int, end func(), next func() error) error {
			_ = next()
			end()
			return kerrors.ErrRPCTimeout.WithCause(foreign)
		}},
	}
	for suite, of := range map[string]func(...ClientOption) client.Suite{"pooled": NewClientSuite, "shared": NewMuxClientSuite} {
		for _, tc := range cases {
			t.Run(suite+", "+tc.name, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				attempts := 0
				opts := []client.Option{
					client.WithSuite(of(WithGroup(newTestGroup(t)))), client.WithRPCTimeout(patience),
					replacing(func(_ context.Context, next func() error) error {
						attempts++
						return tc.attempt(attempts, cancel, next)
					}),
				}
				if tc.option.F != nil {
					opts = append(opts, tc.option)
				}
				c, _ := newEcho(t, hangsUp(t), opts...)
				_, err := c.EchoPayload(ctx, &echo.Payload{Label: "the request"})
				var ended *CallError
				if !errors.As(err, &ended) || ended == foreign {
					t.Fatalf("got %v, without a CallError of its own", err)
				}
				if ended.NotSent() || !strings.Contains(err.Error(), "may have been sent before") {
					t.Errorf("the peer has read it: not sent %v, %v", ended.NotSent(), err)
				}
				if tc.cause != nil && !errors.Is(ended.Err, tc.cause) {
					t.Errorf("got the cause %v, want %v", ended.Err, tc.cause)
				}
			})
		}
	}
}

// TestNotSentIsKept: a middleware leaves behind a call that is about to be sent, and the caller is
// told that it was not sent. Nothing of it is sent afterwards.
func TestNotSentIsKept(t *testing.T) {
	for suite, of := range map[string]func(...ClientOption) client.Suite{"pooled": NewClientSuite, "shared": NewMuxClientSuite} {
		t.Run(suite, func(t *testing.T) {
			arrived, left := make(chan struct{}, 1), make(chan error, 1)
			address := silent(t, func() { arrived <- struct{}{} })
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			reached, returned := make(chan struct{}), make(chan struct{})
			c, _ := newEcho(t, address, client.WithSuite(of(WithGroup(newTestGroup(t)))), client.WithRPCTimeout(patience),
				replacing(func(_ context.Context, next func() error) error {
					go func() { left <- next() }()
					<-reached
					return context.Canceled
				}),
				// This middleware runs after Kitex has looked whether the call has ended.
				client.WithInstanceMW(func(next endpoint.Endpoint) endpoint.Endpoint {
					return func(ctx context.Context, request, response any) error {
						close(reached)
						<-returned
						return next(ctx, request, response)
					}
				}))
			_, err := c.EchoPayload(ctx, &echo.Payload{})
			close(returned)
			var ended *CallError
			if !errors.As(err, &ended) || !ended.NotSent() {
				t.Errorf("got %v, want a call that was not sent", err)
			}
			select {
			case <-arrived:
				t.Error("it was sent")
				cancel()
			case err := <-left:
				if err == nil {
					t.Error("the call that was left has succeeded")
				}
			}
		})
	}
}

// TestNotSentOneway: a oneway whose caller has gone is still sent.
func TestNotSentOneway(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, _ := newEcho(t, silent(t, func() {}), client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)))),
		replacing(func(_ context.Context, next func() error) error {
			err := next()
			cancel()
			return err
		}))
	err := c.Notify(ctx, &echo.Message{})
	var ended *CallError
	if !errors.As(err, &ended) || ended.NotSent() {
		t.Errorf("got %v", err)
	}
}

// TestSendings: an attempt counts until it is undone, and none begins after ruleOut has succeeded.
func TestSendings(t *testing.T) {
	var s sendings
	if first, second := s.begin(), s.begin(); !first || !second || s.ruleOut() {
		t.Error("two attempts have begun")
	}
	s.undo()
	if s.ruleOut() {
		t.Error("one attempt is left")
	}
	s.undo()
	if first, second := s.ruleOut(), s.ruleOut(); !first || !second || s.begin() {
		t.Error("an attempt began after it was ruled out")
	}
	defer func() {
		if text, _ := recover().(string); !strings.HasPrefix(text, "kiteline: BUG: ") {
			t.Errorf("got %q", text)
		}
	}()
	s.undo()
}
