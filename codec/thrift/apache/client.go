package apache

import (
	"context"
	"net"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/transport/conn"
)

// ClientConfig says where and how a client calls. Functions that take it copy it.
type ClientConfig struct {
	// Network is "tcp", "tcp4", "tcp6" or "unix"; empty means "tcp".
	Network string

	// Address is the address to dial.
	Address string

	// Wire is the server's wire; WireDetect, the zero value, stands for WireFramedBinary. THeader's
	// protocol and transforms are the Configuration's.
	Wire Wire

	// Configuration has the limits and the protocols' settings. ConnectTimeout limits dialing.
	// SocketTimeout limits each wait for the server: for the first bytes of a reply, for the rest
	// of its frame, or, without a frame, for each next piece; and for the server to take the next
	// 256 KiB of a request. The context of a call limits the whole call. Zero means forever. A nil
	// Configuration means defaults.
	Configuration *thrift.TConfiguration

	// Dialer opens the connections. The callbacks of its Config must be nil; timeouts that are set
	// there replace SocketTimeout. Its Group watches idle connections; without a Group IsOpen asks
	// the socket.
	Dialer conn.Dialer
}

// NewClientTransport returns a Transport whose Open dials. It replaces a thrift.TSocket, or a
// thrift.TFramedTransport over one. Of cfg.Wire only the framing is used.
func NewClientTransport(cfg ClientConfig) *Transport {
	if cfg.Network == "" {
		cfg.Network = "tcp"
	}
	if cfg.Wire == WireDetect {
		cfg.Wire = WireFramedBinary
	}
	timeout := cfg.Configuration.GetSocketTimeout()
	if cfg.Dialer.Config.ReadTimeout == 0 {
		cfg.Dialer.Config.ReadTimeout = timeout
	}
	if cfg.Dialer.Config.WriteTimeout == 0 {
		cfg.Dialer.Config.WriteTimeout = timeout
	}
	t := newTransport(cfg.Wire.framing(), cfg.Configuration)
	t.open = func(ctx context.Context) (Stream, error) {
		if timeout := cfg.Configuration.GetConnectTimeout(); timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return cfg.Dialer.DialContext(ctx, cfg.Network, cfg.Address)
	}
	return t
}

// Client is a thrift.TClient with one connection, for the clients that the Apache compiler
// generates (NewEchoServiceClient(client)). Unlike thrift.TStandardClient it may be used by any
// number of goroutines. Their calls take turns, and a call ends when its context does. A generated
// client keeps the result of its last call and is for one goroutine; make one for each over the
// same Client.
//
// If a call that has begun fails with anything other than an exception from the server, the
// connection is closed: its reply might still come, and would be taken for that of the next call.
// Later calls fail with NOT_OPEN. A call whose context ends before its turn leaves the connection
// open.
type Client struct {
	trans *Transport
	turn  chan struct{} // has an element while the turn is free

	// owned by the goroutine that has the turn
	proto  thrift.TProtocol
	header *thrift.THeaderProtocol // proto, if it is one
	seqID  int32
}

var _ thrift.TClient = (*Client)(nil)

// Dial returns a Client whose connection is open. It fails with a thrift.TTransportException if ctx
// ends, cfg's ConnectTimeout passes, or the server cannot be reached.
func Dial(ctx context.Context, cfg ClientConfig) (*Client, error) {
	if cfg.Wire == WireDetect {
		cfg.Wire = WireFramedBinary
	}
	if cfg.Wire >= numWires {
		return nil, errUnknownWire
	}
	trans := NewClientTransport(cfg)
	if err := trans.openContext(ctx); err != nil {
		return nil, err
	}
	p := cfg.Wire.protocol(trans, cfg.Configuration)
	c := &Client{trans: trans, proto: p, turn: make(chan struct{}, 1)}
	c.header, _ = p.(*thrift.THeaderProtocol)
	c.turn <- struct{}{}
	return c, nil
}

// Call implements thrift.TClient. It waits for its turn and for the reply. If ctx ends first, the
// error is a TTransportException that unwraps to the cause of the end; for a deadline its type is
// TIMED_OUT.
func (c *Client) Call(ctx context.Context, method string, args, result thrift.TStruct) (thrift.ResponseMeta, error) {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return thrift.ResponseMeta{}, callEnded(ctx)
	}
	defer func() { c.turn <- struct{}{} }()
	if ctx.Err() != nil {
		return thrift.ResponseMeta{}, callEnded(ctx)
	}
	if !c.trans.isUsable() {
		return thrift.ResponseMeta{}, &transportError{kind: thrift.NOT_OPEN, err: net.ErrClosed}
	}
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { _ = c.trans.Close() })
		defer stop()
	}
	meta, err := c.call(ctx, method, args, result)
	if err != nil && ctx.Err() != nil && !c.trans.isUsable() {
		err = callEnded(ctx)
	}
	return meta, err
}

// call makes the call, and closes the connection unless the connection can be used again.
func (c *Client) call(ctx context.Context, method string, args, result thrift.TStruct) (meta thrift.ResponseMeta, err error) {
	fit := false
	defer func() {
		if !fit {
			_ = c.trans.Close() // also if generated code panics
		}
	}()
	c.seqID++
	kind := thrift.CALL
	if result == nil {
		kind = thrift.ONEWAY // thrift.TStandardClient sends CALL, and the server cannot know
	}
	if err := c.send(ctx, kind, method, args); err != nil {
		return meta, err
	}
	if result == nil {
		fit = true
		return meta, nil
	}
	answer, err := c.receive(ctx, method, result)
	if c.header != nil {
		meta.Headers = c.header.GetReadHeaders()
	}
	fit = err == nil
	if err == nil && answer != nil {
		err = answer
	}
	return meta, err
}

// send writes the request.
func (c *Client) send(ctx context.Context, kind thrift.TMessageType, method string, args thrift.TStruct) error {
	if c.header != nil {
		c.header.ClearWriteHeaders()
		for _, key := range thrift.GetWriteHeaderList(ctx) {
			if value, ok := thrift.GetHeader(ctx, key); ok {
				c.header.SetWriteHeader(key, value)
			}
		}
	}
	if err := c.proto.WriteMessageBegin(ctx, method, kind, c.seqID); err != nil {
		return err
	}
	if err := args.Write(ctx, c.proto); err != nil {
		return err
	}
	if err := c.proto.WriteMessageEnd(ctx); err != nil {
		return err
	}
	return c.proto.Flush(ctx)
}

// receive reads the reply: the result, or the server's exception.
func (c *Client) receive(ctx context.Context, method string, result thrift.TStruct) (answer thrift.TApplicationException, err error) {
	name, kind, seqID, err := c.proto.ReadMessageBegin(ctx)
	switch {
	case err != nil:
		return nil, err
	case name != method:
		return nil, thrift.NewTApplicationException(thrift.WRONG_METHOD_NAME, method+": reply of another method")
	case seqID != c.seqID:
		return nil, thrift.NewTApplicationException(thrift.BAD_SEQUENCE_ID, method+": reply to another call")
	case kind == thrift.EXCEPTION:
		answer = thrift.NewTApplicationException(thrift.UNKNOWN_APPLICATION_EXCEPTION, "")
		err = answer.Read(ctx, c.proto)
	case kind == thrift.REPLY:
		err = result.Read(ctx, c.proto)
	default:
		return nil, thrift.NewTApplicationException(thrift.INVALID_MESSAGE_TYPE_EXCEPTION, method+": no reply")
	}
	if err != nil {
		return nil, err
	}
	return answer, c.proto.ReadMessageEnd(ctx)
}

// IsOpen reports whether the connection is open on both sides. It may be called at any time.
func (c *Client) IsOpen() bool { return c.trans.IsOpen() }

// Close closes the connection; a call in flight ends with NOT_OPEN. A second Close does nothing.
func (c *Client) Close() error { return c.trans.Close() }
