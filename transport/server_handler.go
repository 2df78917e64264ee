package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/cloudwego/gopkg/protocol/ttheader"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/trans"

	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/internal/loglimit"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// serverHandler is Kitex's default handler, with one call at a time on each connection, until a
// client sends a request that allows replies in any order. From then on the multiplexing server
// owns that connection. It gives each call back to Kitex's handler as if the call had a connection
// of its own (servedCall), so Kitex does the same for calls of either kind.
type serverHandler struct {
	remote.ServerTransHandler // Kitex's default

	// immutable once Kitex has set the server up
	opt  *remote.ServerOption
	mux  *muxserver.Server
	pipe *remote.TransPipeline

	cancels bool // handlers' contexts end with their client

	// one for each class of log lines
	panics, silent, badReplies, failures loglimit.Limiter

	calls sync.Pool // of unused *servedCall

	stop    sync.Once
	stopErr error // set by stop
}

var (
	_ remote.InvokeHandleFuncSetter = (*serverHandler)(nil)
	_ remote.GracefulShutdown       = (*serverHandler)(nil)
	_ muxserver.Handler             = (*serverHandler)(nil)
)

func newServerHandler(opt *remote.ServerOption, s serverSettings) (*serverHandler, error) {
	kitex, err := trans.NewDefaultSvrTransHandler(opt, extension{maxRead: s.maxRead()})
	if err != nil {
		return nil, err
	}
	h := &serverHandler{ServerTransHandler: kitex, opt: opt, cancels: s.mux.CancelHandlers}
	cfg := s.muxConfig(opt)
	cfg.Handler = h
	cfg.OnPanic, cfg.OnBadReply, cfg.OnTooLarge, cfg.OnError = h.onPanic, h.replyError, h.replyError, h.onError
	h.mux, err = muxserver.New(cfg)
	return h, err
}

// muxConfig returns the limits and timeouts of multiplexed connections.
func (s *serverSettings) muxConfig(opt *remote.ServerOption) muxserver.Config {
	return muxserver.Config{
		MaxHandlersPerConn:     s.mux.MaxHandlersPerConn,
		MaxHandlers:            s.mux.MaxHandlers,
		MaxRequestBytes:        s.mux.MaxRequestBytes,
		MaxRequestBytesPerConn: s.mux.MaxRequestBytesPerConn,
		MaxFrameBytes:          s.muxFrameBytes(s.mux.MaxFrameBytes),
		ReadTimeout:            orNone(opt.ReadWriteTimeout),
		WriteTimeout:           orNone(s.writeTimeoutOr(opt.ReadWriteTimeout)),
		Heartbeat:              cmp.Or(s.mux.Heartbeat, defaultMuxHeartbeat),
		IdleTimeout:            opt.MaxConnectionIdleTime,
	}
}

// SetPipeline implements remote.TransHandler.
func (h *serverHandler) SetPipeline(p *remote.TransPipeline) {
	h.pipe = p
	h.ServerTransHandler.SetPipeline(p)
}

// SetInvokeHandleFunc implements remote.InvokeHandleFuncSetter.
func (h *serverHandler) SetInvokeHandleFunc(f endpoint.Endpoint) {
	if s, ok := h.ServerTransHandler.(remote.InvokeHandleFuncSetter); ok {
		s.SetInvokeHandleFunc(f)
	}
}

// GracefulShutdown implements remote.GracefulShutdown: it returns when no
// multiplexed connection is left, or with ctx's error. A second call waits for the first.
func (h *serverHandler) GracefulShutdown(ctx context.Context) error {
	h.stop.Do(func() {
		err := shutdownHandler(ctx, h.ServerTransHandler)
		h.stopErr = errors.Join(err, h.mux.Shutdown(ctx))
	})
	return h.stopErr
}

// OnRead implements remote.ServerTransHandler.
func (h *serverHandler) OnRead(ctx context.Context, c net.Conn) error {
	switch c := c.(type) {
	case *servedCall:
		if c.isForeign(ctx) {
			ctx = c.ctx
		}
		return h.ServerTransHandler.OnRead(ctx, c)
	case *netpollconn.Conn:
		if isMultiplexed(c) {
			return h.multiplex(ctx, c)
		}
	}
	return h.ServerTransHandler.OnRead(ctx, c)
}

// isMultiplexed reports whether the next request allows replies in any order. It waits for the
// request's first bytes, as reading it would.
func isMultiplexed(c *netpollconn.Conn) bool {
	r := c.Conn.Reader()
	// No TTHeader is so long that its first byte is 0x80 or more. Messages of other protocols may
	// have fewer than eight bytes.
	if first, err := r.Peek(1); err != nil || first[0] >= 0x80 {
		return false
	}
	start, err := r.Peek(8)
	return err == nil && ttheader.IsTTHeader(start) && start[7]&byte(ttheader.HeaderFlagSupportOutOfOrder) != 0 &&
		!ttheader.IsStreaming(start)
}

// multiplex gives the connection to the multiplexing server, which reads its requests from now on.
// ctx, as handlers have extended it, is the context of all of them.
func (h *serverHandler) multiplex(ctx context.Context, c *netpollconn.Conn) error {
	served, err := h.mux.Attach(c.Conn)
	if err != nil {
		return err
	}
	c.EndsItself(served.Drain) // it ends as its client and h.mux agree
	if h.cancels {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		served.OnGone(cancel)
	}
	onRequest := func(_ context.Context, c *conn.Conn) error { return served.OnRequest(ctx, c) }
	if err := c.Conn.SetOnRequest(onRequest); err != nil {
		return err
	}
	if own := connContextOf(ctx); own != nil {
		own.multiplexed = true
	}
	return served.OnRequest(&firstRequests{Context: ctx}, c.Conn)
}

// firstRequests is the context of the requests that came with a connection's first multiplexed one,
// until a call takes it. Bound handlers, a limiter's among them, have already seen one of these
// requests, before it was known to be multiplexed.
type firstRequests struct {
	context.Context
	seen atomic.Bool // a call has taken the bound handlers' answer as its own
}

// HandleCall implements muxserver.Handler.
func (h *serverHandler) HandleCall(ctx context.Context, call *muxserver.Call) bool {
	onRead := h.pipe.OnRead
	if first, ok := ctx.(*firstRequests); ok {
		ctx = first.Context
		if first.seen.CompareAndSwap(false, true) {
			onRead = h.OnRead
		}
	}
	c := h.takeCall(ctx, call)
	shared := c.ctx
	if h.cancels && call.CanCancel() {
		var cancel context.CancelFunc
		c.ctx, cancel = context.WithCancel(shared)
		defer cancel()
		call.OnCancel(cancel)
	}
	err := onRead(c.ctx, c)
	if err != nil {
		h.pipe.OnError(c.ctx, err, c) // which may change the rpcinfo, so c is not reused
	} else {
		c.ctx = shared
		h.dropCall(c)
	}
	return call.Reply().Len() > 0 || err != nil && h.replyError(call, err)
}

// onError logs the failure of a connection or a reply. When one client dies its server finds all of
// the client's connections silent at the same moment.
func (h *serverHandler) onError(c *conn.Conn, err error) {
	var failed *conn.PanicError
	class := &h.failures
	switch {
	case errors.As(err, &failed):
		h.panics.OnPanic(c, failed)
		return
	case errors.Is(err, muxserver.ErrSilent):
		class = &h.silent
	case isBadReply(err):
		class = &h.badReplies
	}
	class.Log(func(more int) {
		klog.Warnf("KITELINE: multiplexed connection or reply failed, remoteAddress=%s, error=%v (%d more not logged)",
			c.RemoteAddr(), err, more)
	})
}

// isBadReply reports whether a reply is to blame, or a limit. A client that sends something that is
// no frame is another matter.
func isBadReply(err error) bool {
	var frame *muxserver.FrameError
	return errors.As(err, &frame) && (!frame.Received || frame.Limit > 0)
}

// onPanic answers a call whose panic Kitex's handler has let through (it recovers panics of
// services), or whose handler has ended its goroutine.
func (h *serverHandler) onPanic(call *muxserver.Call, value any, stack []byte) bool {
	h.panics.LogPanic("a handler", call.Conn().RemoteAddr(), value, stack)
	return h.replyError(call, kerrors.ErrPanic.WithCause(fmt.Errorf("%v", value)))
}
