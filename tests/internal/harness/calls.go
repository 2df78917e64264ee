package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
)

// LargeBytes is the size of a payload that is too large for any one buffer.
const LargeBytes = 1 << 20

// FullMessage returns a message in which every field of every Thrift type has a value of its own.
// Messages with different n differ.
func FullMessage(n int) *echo.Message {
	m := leafMessage(fmt.Sprintf("message %d", n))
	email, sentAt := "ada@example.com", int64(1_700_000_000_000+n)
	m.Author = &echo.Author{Name: "Ada", Email: &email}
	m.Priority = echo.Priority_HIGH
	m.Tags = []string{"greeting", "", "example"}
	m.Recipients = []int64{-1, 0, 1 << 60}
	m.Attributes = map[string]string{"colour": "blue", "": "empty key"}
	m.Attachment = bytes.Repeat([]byte{byte(n)}, 300)
	m.SentAt = &sentAt
	m.Language = "de"
	m.Urgent = true
	m.Channel, m.Retries, m.Views, m.Rating = -7, 1<<14, 1<<30, 4.5
	m.Replies = []*echo.Message{leafMessage("a reply"), leafMessage("another")}
	m.ReadersByDay = map[int32][]*echo.Author{20: {m.Author, {Name: "Bob"}}, -1: {}}
	return m
}

// leafMessage has empty containers instead of nil, as decoding leaves them.
func leafMessage(text string) *echo.Message {
	m := echo.NewMessage()
	m.Text = text
	m.Tags, m.Recipients, m.Attachment = []string{}, []int64{}, []byte{}
	m.Attributes, m.ReadersByDay = map[string]string{}, map[int32][]*echo.Author{}
	m.Replies = []*echo.Message{}
	return m
}

// CallEcho calls Echo with a full message and checks the answer.
func CallEcho(ctx context.Context, cli echoservice.Client, n int) error {
	sent := FullMessage(n)
	got, err := cli.Echo(ctx, &echo.EchoRequest{Message: sent})
	if err != nil {
		return fmt.Errorf("Echo: %w", err)
	}
	return same("Echo", got.Message, sent)
}

// CallAny makes the nth of a mix of calls that covers every method, and checks the answer. Every
// hundredth call carries a large payload.
func CallAny(ctx context.Context, cli echoservice.Client, n int) error {
	if n%100 == 50 {
		return callPayload(ctx, cli, LargeBytes)
	}
	switch n % 8 {
	case 0:
		return callPayload(ctx, cli, 0)
	case 1:
		return callPayload(ctx, cli, 5000)
	case 2:
		return callStoreAndFind(ctx, cli, n)
	case 3:
		return callFindMissing(ctx, cli)
	case 4:
		got, err := cli.Repeat(ctx, "kite", 3, "-")
		if err != nil {
			return fmt.Errorf("Repeat: %w", err)
		}
		return same("Repeat", got, "kite-kite-kite")
	default:
		return CallEcho(ctx, cli, n)
	}
}

func callPayload(ctx context.Context, cli echoservice.Client, size int) error {
	sent := &echo.Payload{Data: make([]byte, size), Label: "payload"}
	for i := range sent.Data {
		sent.Data[i] = byte(i % 251)
	}
	got, err := cli.EchoPayload(ctx, sent)
	if err != nil {
		return fmt.Errorf("EchoPayload of %d bytes: %w", size, err)
	}
	if !bytes.Equal(got.Data, sent.Data) || got.Label != sent.Label {
		return fmt.Errorf("EchoPayload of %d bytes: the answer differs", size)
	}
	return nil
}

func callStoreAndFind(ctx context.Context, cli echoservice.Client, n int) error {
	key, sent := fmt.Sprintf("key %d", n), FullMessage(n)
	if err := cli.Store(ctx, key, sent); err != nil {
		return fmt.Errorf("Store: %w", err)
	}
	got, err := cli.Find(ctx, key)
	if err != nil {
		return fmt.Errorf("Find: %w", err)
	}
	return same("Find", got, sent)
}

func callFindMissing(ctx context.Context, cli echoservice.Client) error {
	_, err := cli.Find(ctx, "missing")
	var notFound *echo.NotFound
	if !errors.As(err, &notFound) {
		return fmt.Errorf("Find of a missing key: got %w, want the declared exception", err)
	}
	return same("the exception's key", notFound.Key, "missing")
}

func same(what string, got, want any) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return fmt.Errorf("%s: got %+v, want %+v", what, got, want)
}
