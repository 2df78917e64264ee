package harness

import (
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
)

// withoutGrace makes Kitex's netpoll server close its event loop at once when it stops. Otherwise
// Kitex first lets it tell the handlers and sleep, 150 ms for each server. Without a handler that
// can be told it does neither (netpoll/trans_server.go, Shutdown).
func withoutGrace() server.Option {
	return server.Option{F: func(o *server.Options, _ *utils.Slice) {
		o.RemoteOpt.TransServerFactory = gracelessFactory{o.RemoteOpt.TransServerFactory}
	}}
}

type gracelessFactory struct{ remote.TransServerFactory }

// NewTransServer implements remote.TransServerFactory.
func (f gracelessFactory) NewTransServer(opt *remote.ServerOption, handler remote.ServerTransHandler) remote.TransServer {
	return f.TransServerFactory.NewTransServer(opt, graceless{handler})
}

// graceless is a handler that is not a remote.GracefulShutdown.
type graceless struct{ remote.ServerTransHandler }
