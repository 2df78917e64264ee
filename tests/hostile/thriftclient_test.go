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
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport"
)

// TestThriftReplies sends clients replies that a server must not send, for every reader: the call
// fails with an error that says what was wrong, and the next one, with a valid reply, succeeds.
func TestThriftReplies(t *testing.T) {
	good := harness.Echo(t, harness.Kiteline, new(harness.Service))
	forms := []struct {
		name     string
		protocol kitextransport.Protocol
		of       func(message []byte) []byte
	}{
		{"framed", kitextransport.Framed, framed},
		{"unframed", kitextransport.PurePayload, unframed},
		{"TTHeader", kitextransport.TTHeader, inTTHeader},
		{"framed in TTHeader", kitextransport.TTHeaderFramed, framedInTTHeader},
	}
	for i, reads := range []string{readsCompiled, readsFrugal, readsJSON, readsDynamic, readsMap} {
		for j, form := range forms {
			t.Run(reads+"/"+form.name, func(t *testing.T) {
				answers := make(chan []byte, 1)
				addr := harness.Peer(t, func(c *net.TCPConn) { answerWith(c, answers) })
				call := newCaller(t, reads, harness.Kiteline, addr, client.WithTransportProtocol(form.protocol))
				for _, m := range hostileMessages {
					if !testkit.Long && i != j && i > 0 && !m.kills || m.required && reads == readsDynamic {
						continue // as in messagesFor
					}
					if m.skipped && skipsOthers(reads) {
						continue // the reader sees a normal reply
					}
					answers <- form.of(thriftMessage(reply, "Echo", m.body(0)))
					checkRefused(t, reads, m.name, call(), form.protocol)
				}
				answers <- form.of(thriftMessage(exception, "Echo", cat(field(tString, 1, str("no")...), nested(100), []byte{0})))
				checkRefused(t, reads, "exception", call(), form.protocol)
			})
		}
		if err := newCaller(t, reads, harness.Kiteline, good.Addr)(); err != nil {
			t.Errorf("%s: %v", reads, err)
		}
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
	_, _ = c.Write(answer) // fails if the client has closed
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

// copySequence gives a message the sequence ID of another. It is after the name Echo in both.
func copySequence(to, from []byte) {
	name := str("Echo")
	at, source := index(to, name), index(from, name)
	if at >= 0 && source >= 0 && len(from) >= source+4 {
		copy(to[at:], from[source:source+4])
	}
}

// checkRefused fails the test unless err says what was wrong with a message. For what Kitex's
// readers find themselves the errors are Kitex's. In an unframed message without its end, the first
// fault is the end of the connection.
func checkRefused(t *testing.T, reads, name string, err error, form kitextransport.Protocol) {
	t.Helper()
	switch {
	case errors.As(err, new(*thrift.Error)):
	case form == kitextransport.PurePayload && errors.Is(err, netpoll.ErrEOF):
	case reads != readsCompiled && errors.As(err, new(*remote.TransError)):
	default:
		t.Errorf("%s: got %v, want a *thrift.Error", name, err)
	}
}

// TestThriftReplyCutShort ends the connection inside a reply: the call fails as with Kitex's codec,
// and blames the connection where Kitex does.
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
			var blamed [2]bool // true: the message is blamed, not the connection
			for i, opts := range [][]transport.ClientOption{nil, {transport.WithKitexCodec()}} {
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
