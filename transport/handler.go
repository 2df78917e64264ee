package transport

import (
	"errors"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/trans"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/transport/pool"
)

// NewServerTransHandlerFactory returns the factory of the handler that reads and answers Thrift and
// Protobuf calls on a server's connections, multiplexed or not. For server.WithTransHandlerFactory,
// wrap it in Kitex's detection, as NewServerSuite does: alone it serves neither gRPC nor TTHeader
// streaming.
//
// A handler around it should pass remote.GracefulShutdown on. Otherwise clients of shared
// connections hear of the server's end 100 ms later, and calls that have not begun when the
// server's time is over fail as if they had.
func NewServerTransHandlerFactory(opts ...ServerOption) remote.ServerTransHandlerFactory {
	return serverHandlerFactory{settings: newServerSettings(takerServerHandlers, opts)}
}

type serverHandlerFactory struct {
	settings serverSettings
	options  *server.Options // of the server that has the suite; nil without the suite
}

// NewTransHandler implements remote.ServerTransHandlerFactory. Its error is that of the server's
// Run.
func (f serverHandlerFactory) NewTransHandler(opt *remote.ServerOption) (remote.ServerTransHandler, error) {
	if err := errors.Join(f.settings.refused, f.settings.checkTransServer(opt)); err != nil {
		return nil, err
	}
	if c, ours := opt.PayloadCodec.(suiteCodec); ours && c.given == nil && registersThriftCodec(f.options) {
		opt.PayloadCodec = nil
	}
	opt.Codec = wholeFrames(opt.Codec)
	return newServerHandler(opt, f.settings)
}

// NewClientTransHandlerFactory returns the factory of the handler that makes calls over a client's
// connections, one at a time on each. Timeouts are Kitex's, as with WithKitexTimeouts. It is for
// client.WithTransHandlerFactory.
func NewClientTransHandlerFactory(opts ...ClientOption) remote.ClientTransHandlerFactory {
	s := newClientSettings(takerClientHandlers, opts)
	return clientHandlerFactory{maxRead: s.maxRead(), refused: s.refused}
}

type clientHandlerFactory struct {
	multiplexes   bool          // calls of a pool.Mux share connections
	keepsTimeouts bool          // the suite may give the calls' timeouts to the transport
	writeTimeout  time.Duration // what the suite's dialer gives a connection
	maxRead       int           // bytes of a reply; zero: any number

	keeper  *timeoutKeeper // nil until the client is made, and where Kitex keeps the timeouts
	refused error          // names options that would do nothing; nil: none
	pool    *poolChoice    // of the last suite that says how connections are kept; nil: none
}

// NewTransHandler implements remote.ClientTransHandlerFactory. Its error is NewClient's.
func (f clientHandlerFactory) NewTransHandler(opt *remote.ClientOption) (remote.ClientTransHandler, error) {
	if f.refused != nil {
		return nil, f.refused
	}
	if _, shares := opt.ConnPool.(*pool.Mux); shares {
		switch {
		case !f.multiplexes:
			return nil, errors.New("kiteline: a pool.Mux needs a client with NewMuxClientSuite")
		case !framesAsKitex(opt.Codec):
			return nil, errors.New("kiteline: a pool.Mux needs Kitex's own codec: leave WithConnPool or WithCodec out")
		}
	}
	opt.Codec = wholeFrames(opt.Codec)
	if f.multiplexes {
		return newMuxClientHandler(opt, extension{maxRead: f.maxRead})
	}
	kitex, err := trans.NewDefaultCliTransHandler(opt, clientExtension{extension{maxRead: f.maxRead}})
	if err != nil {
		return nil, err
	}
	return newClientHandler(opt, kitex), nil
}
