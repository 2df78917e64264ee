package apache

import (
	"context"
	"errors"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/transport/conn"
)

// session is one connection of a Server. It is its context as well, so that a request finds both
// without a search.
type session struct {
	context.Context // cancelled when the connection ends; its cause is thrift.ErrAbandonRequest

	server *Server           // immutable
	conn   *conn.Conn        // immutable
	cancel func(cause error) // immutable
	oneway context.Context   // immutable: the context of requests that go on when the client has gone
	proc   thrift.TProcessor // immutable after the first request
	wire   Wire              // WireDetect until the first bytes are known

	// owned by the running request
	trans  *Transport
	in     thrift.TProtocol
	out    thrift.TProtocol
	header *headerInput // of a THeader client; nil otherwise
}

// connKey is the key under which a handler's context has its connection.
type connKey struct{}

// ConnFromContext returns the connection that a handler's request came on: for its addresses, or
// to Close it. The request has the reading and the writing side. It is nil outside of
// a Server's handlers.
func ConnFromContext(ctx context.Context) *conn.Conn {
	c, _ := ctx.Value(connKey{}).(*conn.Conn)
	return c
}

func newSession(s *Server, c *conn.Conn) *session {
	n := &session{server: s, conn: c, wire: s.config.Wire}
	ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), connKey{}, c))
	n.Context, n.cancel = ctx, cancel
	n.oneway = context.WithoutCancel(ctx)
	return n
}

// abandon cancels the running request: nobody waits for its answer.
func (n *session) abandon() { n.cancel(thrift.ErrAbandonRequest) }

// serve handles the request that the connection's unread bytes begin. It returns nil if more have
// to come first, and an error if the connection has to end.
func (n *session) serve() error {
	head, err := n.peek()
	if err != nil {
		return transportFailure(err)
	}
	if len(head) < n.headNeeded() {
		return nil
	}
	if n.in == nil {
		if ready, err := n.begin(head); !ready || err != nil {
			return err
		}
	}
	ok, failed := n.process(head)
	if err := n.outcome(ok, failed); err != nil {
		return err
	}
	return n.end()
}

// end gives back what the request had of the connection's buffer.
func (n *session) end() error {
	if n.header == nil {
		return n.trans.in.end()
	}
	// Unknown stands for a frame that was read to its end, and for one that was inflated.
	if left := n.header.Transport().RemainingBytes(); left != thrift.UnknownRemainingBytes && left > 0 {
		return invalidData("%d bytes behind the message in its frame", left)
	}
	return n.trans.in.end()
}

// headNeeded returns how many bytes have to be there before a request is looked at. No message of
// the wires is shorter.
func (n *session) headNeeded() int {
	switch {
	case n.server.config.Protocol != nil:
		return 1
	case n.wire == WireDetect || n.wire == WireUnframedCompact:
		return unframedHead
	}
	return framedHead
}

// peek returns the first bytes, as far as they are there and say what they begin.
func (n *session) peek() ([]byte, error) {
	r := n.conn.Reader()
	return r.Peek(min(r.Len(), framedHead))
}

// begin makes the protocols of a connection whose first bytes are head. It reports false if those
// are too few to tell.
func (n *session) begin(head []byte) (ready bool, err error) {
	if n.wire == WireDetect && n.server.config.Protocol == nil {
		w, ok, err := detect(head)
		if !ok {
			return false, err
		}
		n.wire = w
	}
	conf := n.server.config.Configuration
	framing := n.wire.framing()
	if n.server.config.Protocol != nil {
		framing = n.server.config.Framing
	}
	n.trans = NewTransport(n.conn, framing, conf)
	n.proc = n.server.config.Processors.GetProcessor(n.trans)
	switch {
	case n.server.config.Protocol != nil:
		n.in = n.server.config.Protocol.GetProtocol(n.trans)
	case n.wire == WireHeader:
		h := thrift.NewTHeaderProtocolConf(&headerTransport{Transport: n.trans}, conf)
		n.header = &headerInput{THeaderProtocol: h}
		n.in, n.out = n.header, h
		return true, nil
	default:
		n.in = n.wire.protocol(n.trans, conf)
	}
	n.out = n.in
	return true, nil
}

// process runs the processor on one request, whose first bytes are head.
func (n *session) process(head []byte) (bool, thrift.TException) {
	if n.header != nil {
		return n.processHeader()
	}
	ctx := n.Context
	if n.wire.isOneway(head) {
		ctx = n.oneway
	}
	return n.proc.Process(ctx, n.in, n.out)
}

// processHeader is process for a THeader client, whose headers the handler's context has.
func (n *session) processHeader() (bool, thrift.TException) {
	n.header.request = &requestContext{Context: n.Context}
	var ctx context.Context = n.header.request
	if err := n.header.ReadFrame(ctx); err != nil {
		return false, thrift.WrapTException(err)
	}
	ctx = thrift.SetResponseHelper(ctx, thrift.TResponseHelper{
		THeaderResponseHelper: thrift.NewTHeaderResponseHelper(n.out),
	})
	ctx = thrift.AddReadTHeaderToContext(ctx, n.header.GetReadHeaders())
	ctx = thrift.SetWriteHeaderList(ctx, n.server.config.ForwardHeaders)
	return n.proc.Process(ctx, n.in, n.out)
}

// outcome returns why the connection has to end after a request, nil if it goes on. A failed
// handler was answered and is no reason, nor is an unknown method.
func (n *session) outcome(ok bool, err thrift.TException) error {
	var application thrift.TApplicationException
	var transport thrift.TTransportException
	switch {
	case errors.Is(err, thrift.ErrAbandonRequest):
		return err
	case errors.As(err, &transport):
		return err
	case errors.As(err, &application) && application.TypeId() == thrift.UNKNOWN_METHOD:
		return nil
	case !ok && err != nil:
		return err
	case !ok:
		return errRefused
	}
	return nil
}

// errRefused ends a connection whose processor wants it ended and does not say why.
var errRefused = errors.New("apache: the processor has ended the connection")
