package transport

import (
	"cmp"
	"fmt"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/remote/trans/netpollmux"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/transport/pool"
)

// The suites set Kitex's option structs directly: Kitex's own options for these fields panic when
// given twice, depending on whether the compiler inlined them (internal/configutil/once.go), so a
// suite that used them would clash with a user's option.

// NewServerSuite returns the suite that runs a Kitex server on Kiteline, for
// server.WithSuite. Everything else stays Kitex's: one port serves Thrift and
// Protobuf with or without TTHeader, gRPC and TTHeader streaming. Options given
// to the server after the suite win over it.
func NewServerSuite(opts ...ServerOption) server.Suite {
	return serverSuite{settings: newServerSettings(takerServerSuite, opts)}
}

type serverSuite struct{ settings serverSettings }

// Options implements server.Suite.
func (s serverSuite) Options() []server.Option {
	return []server.Option{{F: func(o *server.Options, di *utils.Slice) {
		di.Push("kiteline.NewServerSuite")
		s.settings.setPayloadCodec(&o.RemoteOpt.PayloadCodec)
		if yieldsToKitex(o.RemoteOpt.PayloadCodec) {
			o.RemoteOpt.PayloadCodec = nil
		}
		o.RemoteOpt.TransServerFactory = &transServerFactory{settings: s.settings}
		o.RemoteOpt.SvrHandlerFactory = suiteHandlerFactory{serverHandlerFactory{settings: s.settings, options: o}}
	}}}
}

// String names the suite in Kitex's diagnosis.
func (s serverSuite) String() string { return "kiteline" }

// NewClientSuite returns the suite that runs a Kitex client on Kiteline with pooled connections,
// for client.WithSuite. A dialer, a handler factory or a connection pool given to the client after
// the suite wins over it. WithLongConnection and WithShortConnection configure the pool. A gRPC
// client, or one with WithMuxConnection before or after the suite, keeps Kitex's own connection
// pool and handlers and dials with Kiteline.
func NewClientSuite(opts ...ClientOption) client.Suite {
	return clientSuite{settings: newClientSettings(takerClientSuite, opts)}
}

type clientSuite struct{ settings clientSettings }

// Options implements client.Suite. A TailOption, which runs after the user's options, makes the
// pool: Kitex takes the first pool it is given, and what WithLongConnection says is known only
// then.
func (s clientSuite) Options() []client.Option {
	choice := s.settings.choosePool(takerClientSuite, optionPool)
	set := client.Option{F: func(o *client.Options, di *utils.Slice) {
		di.Push("kiteline.NewClientSuite")
		s.settings.setPayloadCodec(&o.RemoteOpt.PayloadCodec)
		o.RemoteOpt.Dialer = &dialer{settings: s.settings.settings}
		if _, mux := o.RemoteOpt.ConnPool.(*netpollmux.MuxPool); !mux {
			o.RemoteOpt.CliHandlerFactory = clientHandlerFactory{
				keepsTimeouts: !s.settings.kitexTimeouts,
				writeTimeout:  s.settings.writeTimeoutOr(0),
				maxRead:       s.settings.maxRead(),
				pool:          choice.orOf(o),
			}
		}
	}}
	setPool := client.TailOption(client.Option{F: func(o *client.Options, di *utils.Slice) {
		o.MWBs = append(o.MWBs, timeoutBuilder(o))
		if choice.isOverridden(o) {
			refuse(o, s.settings.refused)
			return
		}
		refuse(o, s.checkOptions(o))
		if !multiplexes(o) {
			s.setPool(o, di)
		}
	}})
	return []client.Option{set, setPool}
}

// setPool gives o's client a pool, if it has none.
func (s clientSuite) setPool(o *client.Options, di *utils.Slice) {
	cfg, long := s.poolConfig(o.PoolCfg)
	if o.RemoteOpt.ConnPool != nil || !long {
		return // short connections: Kitex's pool for them dials and closes, with our dialer
	}
	di.Push(fmt.Sprintf("kiteline/pool.Pool(%+v)", cfg))
	o.RemoteOpt.ConnPool = pool.New(o.Svr.ServiceName, cfg)
}

// String names the suite in Kitex's diagnosis.
func (s clientSuite) String() string { return "kiteline" }

// NewMuxClientSuite returns the suite that runs a Kitex client on Kiteline with connections that
// its calls share, for client.WithSuite. Servers with NewServerSuite need no option for it. With
// any other server each connection carries one call at a time, as from a pool.
//
// Calls use TTHeader, whatever WithTransportProtocol says. Only MaxIdleTimeout of
// WithLongConnection is used, and only if WithMux sets no IdleTimeout. WithShortConnection,
// WithMuxConnection, gRPC, a pool other than a pool.Mux and other handlers win over the suite.
// WithCodec gives the client pooled connections as with NewClientSuite, unless the codec is Kitex's
// own: any other may write something other than TTHeader.
func NewMuxClientSuite(opts ...ClientOption) client.Suite {
	return muxClientSuite{settings: newClientSettings(takerMuxClientSuite, opts)}
}

type muxClientSuite struct{ settings clientSettings }

// Options implements client.Suite.
func (s muxClientSuite) Options() []client.Option {
	choice := s.settings.choosePool(takerMuxClientSuite, optionMux, optionWriteTimeout)
	set := client.Option{F: func(o *client.Options, di *utils.Slice) {
		di.Push("kiteline.NewMuxClientSuite")
		s.settings.setPayloadCodec(&o.RemoteOpt.PayloadCodec)
		o.RemoteOpt.Dialer = &dialer{settings: s.settings.settings}
		if _, mux := o.RemoteOpt.ConnPool.(*netpollmux.MuxPool); !mux {
			o.RemoteOpt.CliHandlerFactory = clientHandlerFactory{
				multiplexes:   true,
				keepsTimeouts: !s.settings.kitexTimeouts,
				writeTimeout:  s.settings.writeTimeoutOr(0),
				maxRead:       s.settings.maxRead(),
				pool:          choice.orOf(o),
			}
		}
	}}
	setPool := client.TailOption(client.Option{F: func(o *client.Options, di *utils.Slice) {
		o.MWBs = append(o.MWBs, timeoutBuilder(o))
		if choice.isOverridden(o) {
			refuse(o, s.settings.refused)
			return
		}
		refuse(o, s.checkOptions(o))
		if !multiplexes(o) {
			s.setFallback(o, di)
			return
		}
		if o.RemoteOpt.ConnPool == nil {
			cfg := s.poolConfig(o.PoolCfg)
			di.Push(fmt.Sprintf("kiteline/pool.Mux(%+v)", cfg))
			o.RemoteOpt.ConnPool = pool.NewMux(o.Svr.ServiceName, cfg)
		}
		limitApart(o)
		if err := rpcinfo.AsMutableRPCConfig(o.Configs).SetTransportProtocol(kitextransport.TTHeader); err != nil {
			panic(fmt.Sprintf("kiteline: multiplexing needs TTHeader: %v", err))
		}
	}})
	return []client.Option{set, setPool}
}

// limitApart gives o's handlers the limits of its pool.Mux: they make the calls on connections that
// are not shared.
func limitApart(o *client.Options) {
	shared, shares := o.RemoteOpt.ConnPool.(*pool.Mux)
	handlers, ours := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
	if !shares || !ours {
		return
	}
	cfg := shared.Config()
	handlers.writeTimeout = cfg.WriteTimeout
	if most := cfg.MaxFrameBytes; handlers.maxRead == 0 || handlers.maxRead > most {
		handlers.maxRead = most
	}
	o.RemoteOpt.CliHandlerFactory = handlers
}

// setFallback gives the client the pool of NewClientSuite if its codec keeps calls from sharing
// connections.
func (s muxClientSuite) setFallback(o *client.Options, di *utils.Slice) {
	_, ours := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
	if ours && !framesAsKitex(o.RemoteOpt.Codec) {
		clientSuite(s).setPool(o, di)
	}
}

// multiplexes reports whether the calls of o's client share connections, as far as the options
// applied so far say: its handlers can do that, and the pool is a pool.Mux, or there is no pool yet
// and a pool.Mux can be made.
func multiplexes(o *client.Options) bool {
	handlers, ours := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
	if !ours || !handlers.multiplexes || !framesAsKitex(o.RemoteOpt.Codec) || isGRPC(o) {
		return false
	}
	if o.RemoteOpt.ConnPool == nil {
		short := o.PoolCfg != nil && *o.PoolCfg == connpool.IdleConfig{}
		return !short
	}
	_, shares := o.RemoteOpt.ConnPool.(*pool.Mux)
	return shares
}

// poolConfig returns the pool's configuration.
func (s muxClientSuite) poolConfig(kitex *connpool.IdleConfig) pool.MuxConfig {
	cfg := s.settings.mux
	cfg.MaxFrameBytes = s.settings.muxFrameBytes(cfg.MaxFrameBytes)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, s.settings.writeTimeout)
	if kitex != nil && cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = kitex.MaxIdleTimeout
	}
	return cfg
}

// String names the suite in Kitex's diagnosis.
func (s muxClientSuite) String() string { return "kiteline-mux" }

// poolConfig returns the pool's configuration, and whether the client gets a pool. Kitex's options
// win over the suite's.
func (s clientSuite) poolConfig(kitex *connpool.IdleConfig) (cfg pool.Config, long bool) {
	if s.settings.pool != nil {
		cfg = *s.settings.pool
	}
	switch {
	case kitex == nil:
		return cfg, true
	case *kitex == connpool.IdleConfig{}:
		return cfg, false
	}
	cfg.MinIdlePerAddress = kitex.MinIdlePerAddress
	cfg.MaxIdlePerAddress = kitex.MaxIdlePerAddress
	cfg.MaxIdleGlobal = kitex.MaxIdleGlobal
	cfg.MaxIdleTimeout = kitex.MaxIdleTimeout
	return cfg, true
}
