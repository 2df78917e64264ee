package hostile

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport"
)

// TestThriftReplies has a client get what a server must not send: the call fails with an error that says
// what was wrong, and the next one, which is answered well, does not.
func TestThriftReplies(t *testing.T) {
	good := harness.Echo(t, harness.Kiteline, new(harness.Service))
	for _, form := range []struct {
		name     string
		protocol kitextransport.Protocol
		of       func(message []byte) []byte
	}{
		{"framed", kitextransport.Framed, framed},
		{"unframed", kitextransport.PurePayload, unframed},
		{"TTHeader", kitextransport.TTHeader, inTTHeader},
	} {
		t.Run(form.name, func(t *testing.T) {
			replies := make(chan []byte, 1)
			addr := harness.Peer(t, func(c *net.TCPConn) { answerWith(c, replies) })
			cli := harness.EchoClient(t, harness.Kiteline, addr, client.WithTransportProtocol(form.protocol))
			for _, m := range hostileMessages {
				t.Run(m.name, func(t *testing.T) {
					replies <- form.of(thriftMessage(reply, "Echo", m.body(0)))
					checkRefused(t, harness.CallEcho(context.Background(), cli, 1), form.protocol)
				})
			}
			t.Run("exception", func(t *testing.T) {
				replies <- form.of(thriftMessage(exception, "Echo", cat(field(tString, 1, str("no")...), nested(100), []byte{0})))
				checkRefused(t, harness.CallEcho(context.Background(), cli, 1), form.protocol)
			})
		})
	}
	cli := harness.EchoClient(t, harness.Kiteline, good.Addr)
	if err := harness.CallEcho(context.Background(), cli, 1); err != nil {
		t.Error(err)
	}
}

// answerWith answers the first request with the next of replies, and closes.
func answerWith(c *net.TCPConn, replies <-chan []byte) {
	defer c.Close()
	request := make([]byte, 64<<10)
	n, err := c.Read(request)
	if err != nil {
		return
	}
	answer := <-replies
	copySequence(answer, request[:n])
	_, _ = c.Write(answer) // it fails if the client has had enough
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

// copySequence gives a message the sequence ID of another, behind the name Echo in both.
func copySequence(to, from []byte) {
	name := str("Echo")
	at, source := index(to, name), index(from, name)
	if at >= 0 && source >= 0 && len(from) >= source+4 {
		copy(to[at:], from[source:source+4])
	}
}

// checkRefused fails the test unless err says what was wrong. Of an unframed message whose end is missing the
// end of the connection is the first thing that is wrong.
func checkRefused(t *testing.T, err error, form kitextransport.Protocol) {
	t.Helper()
	var refused *thrift.Error
	if errors.As(err, &refused) || form == kitextransport.PurePayload && errors.Is(err, netpoll.ErrEOF) {
		return
	}
	t.Errorf("got %v, want a *thrift.Error", err)
}

// TestThriftReplyCutShort has the connection end inside a reply: the call fails as with Kitex's codec, for the
// connection's sake where that is what Kitex says.
func TestThriftReplyCutShort(t *testing.T) {
	for _, form := range []struct {
		name     string
		protocol kitextransport.Protocol
		of       func(message []byte) []byte
	}{
		{"framed", kitextransport.Framed, framed},
		{"unframed", kitextransport.PurePayload, unframed},
		{"TTHeader", kitextransport.TTHeader, inTTHeader},
	} {
		t.Run(form.name, func(t *testing.T) {
			var blamed [2]bool // the message, not the connection
			for i, opts := range [][]transport.Option{nil, {transport.WithKitexCodec()}} {
				whole := form.of(thriftMessage(reply, "Echo", inMessage(0)))
				replies := make(chan []byte, 1)
				replies <- whole[:len(whole)-4]
				addr := harness.Peer(t, func(c *net.TCPConn) { answerWith(c, replies) })
				cli := harness.EchoClient(t, harness.Kiteline, addr, client.WithTransportProtocol(form.protocol),
					client.WithSuite(transport.NewClientSuite(opts...)))
				err := harness.CallEcho(context.Background(), cli, 1)
				if !errors.Is(err, kerrors.ErrRemoteOrNetwork) {
					t.Errorf("got %v", err)
				}
				blamed[i] = errors.As(err, new(*remote.TransError))
			}
			if blamed[0] != blamed[1] {
				t.Errorf("a *remote.TransError: got %t, with Kitex's codec %t", blamed[0], blamed[1])
			}
		})
	}
}
