package apache

import (
	"context"
	"errors"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/transport/conn"
)

// session is one connection of a Server. It is also the connection's context, so that a request
// finds both without a search.
type session struct {
	context.Context // cancelled when the connection ends; its cause is thrift.ErrAbandonRequest

	server *Server           // immutable
	conn   *conn.Conn        // immutable
	cancel func(cause error) // immutable
	oneway context.Context   // immutable: for requests that go on after the client has gone
	proc   thrift.TProcessor // immutable after the first request
	wire   Wire              // WireDetect until the first bytes are known

	// owned by the running request
	trans  *Transport
	in     thrift.TProtocol
	out    thrift.TProtocol
	header *headerInput // of a THeader client; otherwise nil
}

// connKey is the key of the connection in a handler's context.
type connKey struct{}

// ConnFromContext returns the connection of a handler's request: for its addresses, or to Close it.
// The request owns the reading and the writing side. Outside a Server's handlers it returns nil.
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

// abandon cancels the running request: its answer is no longer awaited.
func (n *session) abandon() { n.cancel(thrift.ErrAbandonRequest) }

// serve handles the request at the start of the connection's unread bytes. It returns nil if more
// bytes must come first, and an error if the connection must end.
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

// end releases what the request had of the connection's buffer.
func (n *session) end() error {
	if n.header == nil {
		return n.trans.in.end()
	}
	// A frame that was read to its end has an unknown rest, and so has one that was inflated.
	if left := n.header.Transport().RemainingBytes(); left != thrift.UnknownRemainingBytes && left > 0 {
		return invalidData("%d bytes behind the message in its frame", left)
	}
	return n.trans.in.end()
}

// headNeeded returns how many bytes must have come before the session looks at a request. No
// message of the wires is shorter.
func (n *session) headNeeded() int {
	switch {
	case n.server.config.Protocol != nil:
		return 1
	case n.wire == WireDetect || n.wire == WireUnframedCompact:
		return unframedHead
	}
	return framedHead
}

// peek returns the first bytes that have come, at most as many as identify a wire.
func (n *session) peek() ([]byte, error) {
	r := n.conn.Reader()
	return r.Peek(min(r.Len(), framedHead))
}

// begin makes the protocols of a connection whose first bytes are head. It reports false if these
// are too few.
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

// processHeader is process for a THeader client. The handler's context has the request's headers.
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

// outcome returns why the connection must end after a request, or nil if it goes on. A failed
// handler or an unknown method was answered, and is no reason.
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

// errRefused ends a connection if the processor asks for that and gives no reason.
var errRefused = errors.New("apache: the processor has ended the connection")
