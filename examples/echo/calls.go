package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
)

// callEveryMethod calls each method of the service once and checks the reply.
func callEveryMethod(cli echoservice.Client, out io.Writer) error {
	ctx := context.Background()
	calls := []struct {
		name string
		call func() error
	}{
		{"Echo", func() error { return callEcho(ctx, cli) }},
		{"EchoPayload", func() error { return callEchoPayload(ctx, cli) }},
		{"Store", func() error { return cli.Store(ctx, "greeting", sampleMessage()) }},
		{"Find", func() error { return callFind(ctx, cli) }},
		{"Find, throwing", func() error { return callFindMissing(ctx, cli) }},
		{"Repeat", func() error { return callRepeat(ctx, cli) }},
		{"Notify", func() error { return cli.Notify(ctx, sampleMessage()) }},
	}
	for _, c := range calls {
		if err := c.call(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(out, "%-16s ok\n", c.name)
	}
	return nil
}

// sampleMessage uses every field of a message.
func sampleMessage() *echo.Message {
	email, sentAt := "ada@example.com", int64(1_700_000_000_000)
	author := &echo.Author{Name: "Ada", Email: &email}
	m := echo.NewMessage()
	m.Text = "hello"
	m.Author = author
	m.Priority = echo.Priority_HIGH
	m.Tags = []string{"greeting", "example"}
	m.Recipients = []int64{1, 2, 3}
	m.Attributes = map[string]string{"colour": "blue"}
	m.Attachment = bytes.Repeat([]byte{0xAB}, 300)
	m.SentAt = &sentAt
	m.Urgent = true
	m.Channel, m.Retries, m.Views, m.Rating = 7, 3, 1000, 4.5
	reply := echo.NewMessage()
	reply.Text = "hello yourself"
	m.Replies = []*echo.Message{reply}
	m.ReadersByDay = map[int32][]*echo.Author{20: {author}}
	return m
}

func callEcho(ctx context.Context, cli echoservice.Client) error {
	sent := sampleMessage()
	response, err := cli.Echo(ctx, &echo.EchoRequest{Message: sent})
	if err != nil {
		return err
	}
	// Compare the encoded messages, since a nil list comes back as an empty one.
	if !bytes.Equal(thrift.FastMarshal(response.Message), thrift.FastMarshal(sent)) {
		return errors.New("the answer differs from what was sent")
	}
	return nil
}

func callEchoPayload(ctx context.Context, cli echoservice.Client) error {
	sent := &echo.Payload{Data: bytes.Repeat([]byte("payload "), 10_000), Label: "large"}
	got, err := cli.EchoPayload(ctx, sent)
	if err != nil {
		return err
	}
	return same(got, sent)
}

func callFind(ctx context.Context, cli echoservice.Client) error {
	got, err := cli.Find(ctx, "greeting")
	if err != nil {
		return err
	}
	return same(got.Text, sampleMessage().Text)
}

func callFindMissing(ctx context.Context, cli echoservice.Client) error {
	_, err := cli.Find(ctx, "nothing")
	var notFound *echo.NotFound
	if !errors.As(err, &notFound) {
		return errors.Join(errors.New("want the declared exception"), err)
	}
	return same(notFound.Key, "nothing")
}

func callRepeat(ctx context.Context, cli echoservice.Client) error {
	got, err := cli.Repeat(ctx, "kite", 3, "-")
	if err != nil {
		return err
	}
	return same(got, "kite-kite-kite")
}

// same reports a difference as an error.
func same(got, want any) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return fmt.Errorf("got %v, want %v", got, want)
}
