package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cloudwego/kitex/pkg/streaming"

	"github.com/kiteline/kiteline/tests/internal/harness"
)

// item is the content of a message of either streaming service.
type item struct {
	text  string
	data  []byte
	index int32
}

// messages says how a service's messages are made and read.
type messages[Req, Res any] struct {
	request func(i item, count int32) *Req
	read    func(*Res) item
}

// streamRounds is how many messages a stream carries each way; the last is large.
const streamRounds = 10

func nthItem(n int) item {
	i := item{text: fmt.Sprintf("message %d", n), data: bytes.Repeat([]byte{byte(n)}, 300*n)}
	if n == streamRounds-1 {
		i.data = bytes.Repeat([]byte{byte(n)}, harness.LargeBytes)
	}
	return i
}

// bidirectional sends messages, each after the answer to the one before, half-closes,
// and expects the end of the stream.
func (m messages[Req, Res]) bidirectional(stream streaming.BidiStreamingClient[Req, Res]) error {
	ctx := context.Background()
	for n := range streamRounds {
		sent := nthItem(n)
		if err := stream.Send(ctx, m.request(sent, 0)); err != nil {
			return fmt.Errorf("send %d: %w", n, err)
		}
		response, err := stream.Recv(ctx)
		if err != nil {
			return fmt.Errorf("receive %d: %w", n, err)
		}
		if got := m.read(response); got.text != sent.text || !bytes.Equal(got.data, sent.data) {
			return fmt.Errorf("message %d: the answer %.60q differs", n, got.text)
		}
	}
	if err := stream.CloseSend(ctx); err != nil {
		return fmt.Errorf("close send: %w", err)
	}
	if _, err := stream.Recv(ctx); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the last message: got %w, want %w", err, io.EOF)
	}
	return nil
}

// clientStream sends messages and expects one answer that joins their texts.
func (m messages[Req, Res]) clientStream(stream streaming.ClientStreamingClient[Req, Res]) error {
	ctx := context.Background()
	var texts []string
	for n := range streamRounds {
		sent := nthItem(n)
		texts = append(texts, sent.text)
		if err := stream.Send(ctx, m.request(sent, 0)); err != nil {
			return fmt.Errorf("send %d: %w", n, err)
		}
	}
	response, err := stream.CloseAndRecv(ctx)
	if err != nil {
		return fmt.Errorf("close and receive: %w", err)
	}
	if got, want := m.read(response).text, strings.Join(texts, ","); got != want {
		return fmt.Errorf("the answer: got %q, want %q", got, want)
	}
	return nil
}

// serverStream expects streamRounds messages, numbered from 0, and the end.
func (m messages[Req, Res]) serverStream(stream streaming.ServerStreamingClient[Res]) error {
	ctx := context.Background()
	for n := range int32(streamRounds) {
		response, err := stream.Recv(ctx)
		if err != nil {
			return fmt.Errorf("receive %d: %w", n, err)
		}
		if got := m.read(response).index; got != n {
			return fmt.Errorf("index: got %v, want %v", got, n)
		}
	}
	if _, err := stream.Recv(ctx); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the last message: got %w, want %w", err, io.EOF)
	}
	return nil
}
