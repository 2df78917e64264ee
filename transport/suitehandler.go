package transport

import (
	"context"
	"errors"

	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/trans/detection"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2"
	"github.com/cloudwego/kitex/pkg/remote/trans/ttstream"
)

// suiteHandlerFactory makes the handlers of a server with the suite: Kitex's detection chooses one
// for each connection.
type suiteHandlerFactory struct{ own serverHandlerFactory }

// NewTransHandler implements remote.ServerTransHandlerFactory.
func (f suiteHandlerFactory) NewTransHandler(opt *remote.ServerOption) (remote.ServerTransHandler, error) {
	own := keptFactory{serverHandlerFactory: f.own}
	detecting, err := detection.NewSvrTransHandlerFactory(
		&own,
		nphttp2.NewSvrTransHandlerFactory(),
		ttstream.NewSvrTransHandlerFactory(),
	).NewTransHandler(opt)
	if err != nil {
		return nil, err
	}
	return &suiteHandler{ServerTransHandler: detecting, own: own.made}, nil
}

// keptFactory remembers the handler that it has made.
type keptFactory struct {
	serverHandlerFactory
	made remote.ServerTransHandler
}

// NewTransHandler implements remote.ServerTransHandlerFactory.
func (f *keptFactory) NewTransHandler(opt *remote.ServerOption) (remote.ServerTransHandler, error) {
	h, err := f.serverHandlerFactory.NewTransHandler(opt)
	f.made = h
	return h, err
}

// suiteHandler is Kitex's detection, except that it tells the handlers of the server's end side by
// side. Detection tells them one after the other, and the gRPC handler first waits for its streams.
type suiteHandler struct {
	remote.ServerTransHandler // detection
	own                       remote.ServerTransHandler
}

var (
	_ remote.InvokeHandleFuncSetter = (*suiteHandler)(nil)
	_ remote.GracefulShutdown       = (*suiteHandler)(nil)
)

// SetInvokeHandleFunc implements remote.InvokeHandleFuncSetter.
func (h *suiteHandler) SetInvokeHandleFunc(f endpoint.Endpoint) {
	if s, ok := h.ServerTransHandler.(remote.InvokeHandleFuncSetter); ok {
		s.SetInvokeHandleFunc(f)
	}
}

// GracefulShutdown implements remote.GracefulShutdown: it returns when neither gRPC streams nor
// multiplexed connections are left, or when ctx has ended.
func (h *suiteHandler) GracefulShutdown(ctx context.Context) error {
	told := make(chan error, 1)
	go func() { told <- shutdownHandler(ctx, h.own) }()
	err := shutdownHandler(ctx, h.ServerTransHandler)
	return errors.Join(err, <-told)
}

// shutdownHandler tells h of the server's end, if it wants to know.
func shutdownHandler(ctx context.Context, h remote.ServerTransHandler) error {
	if g, ok := h.(remote.GracefulShutdown); ok {
		return g.GracefulShutdown(ctx)
	}
	return nil
}
