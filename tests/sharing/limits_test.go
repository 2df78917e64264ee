package sharing

import (
	"github.com/cloudwego/kitex/server"

	kiteline "github.com/kiteline/kiteline/transport"
)

// serverLimit is a server's bound on what multiplexed calls may hold.
type serverLimit struct {
	name   string
	calls  int // that the server lets in at a time, at least
	bytes  int // of a request's attachment
	option func() server.Option
}

// serverLimits returns a bound of each kind, so low that a test meets it.
func serverLimits() []serverLimit {
	return []serverLimit{
		{"handlers of a connection", 16, 10, func() server.Option {
			return server.WithSuite(kiteline.NewServerSuite(kiteline.WithMuxServer(kiteline.MuxServerConfig{MaxHandlersPerConn: 16})))
		}},
		{"handlers", 16, 10, func() server.Option {
			return server.WithSuite(kiteline.NewServerSuite(kiteline.WithMuxServer(kiteline.MuxServerConfig{MaxHandlers: 16})))
		}},
		{"bytes of a connection", 6, 16 << 10, func() server.Option { return withHeldBytes(128<<10, 0) }},
		{"bytes", 6, 16 << 10, func() server.Option { return withHeldBytes(0, 128<<10) }},
	}
}

// withHeldBytes bounds the bytes of requests that were read and not yet answered.
func withHeldBytes(perConn, perServer int64) server.Option {
	return server.WithSuite(kiteline.NewServerSuite(kiteline.WithMuxServer(kiteline.MuxServerConfig{
		MaxRequestBytesPerConn: perConn, MaxRequestBytes: perServer,
	})))
}
