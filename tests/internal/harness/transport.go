package harness

import (
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote/trans/gonet"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	kiteline "github.com/kiteline/kiteline/transport"
)

// Transport is what carries a client's or a server's connections.
type Transport int

// The transports.
const (
	Kiteline    Transport = iota // the project's own, through its suites
	Netpoll                      // Kitex's default: no option at all
	Gonet                        // Kitex's own, on package net
	KitelineMux                  // the project's own, with shared connections; served by Kiteline
	NetpollMux                   // Kitex's own, with shared connections
)

// Both are the transports that must agree: Kiteline, and stock Kitex, which says what is right.
var Both = []Transport{Kiteline, Netpoll}

// String returns the transport's name.
func (tr Transport) String() string {
	return [...]string{"kiteline", "netpoll", "gonet", "kiteline-mux", "netpoll-mux"}[tr]
}

// ServerOptions makes a server use the transport.
func (tr Transport) ServerOptions() []server.Option {
	switch tr {
	case Kiteline, KitelineMux:
		return []server.Option{server.WithSuite(kiteline.NewServerSuite())}
	case Gonet:
		return []server.Option{
			server.WithTransServerFactory(gonet.NewTransServerFactory()),
			server.WithTransHandlerFactory(gonet.NewSvrTransHandlerFactory()),
		}
	case NetpollMux:
		return []server.Option{server.WithMuxTransport()}
	}
	return nil
}

// ClientOptions makes a client use the transport.
func (tr Transport) ClientOptions() []client.Option {
	switch tr {
	case Kiteline:
		return []client.Option{client.WithSuite(kiteline.NewClientSuite())}
	case KitelineMux:
		return []client.Option{client.WithSuite(kiteline.NewMuxClientSuite())}
	case Gonet:
		return []client.Option{
			client.WithTransHandlerFactory(gonet.NewCliTransHandlerFactory()),
			client.WithDialer(gonet.NewDialer()),
		}
	case NetpollMux:
		return []client.Option{
			client.WithMuxConnection(1),
			client.WithTransportProtocol(transport.TTHeader),
		}
	}
	return nil
}

// keepsConnContract reports whether the transport calls OnInactive. Gonet does not.
func (tr Transport) keepsConnContract() bool { return tr != Gonet }

// isStock reports whether the transport is Kitex's own.
func (tr Transport) isStock() bool { return tr != Kiteline && tr != KitelineMux }

// listensWithNetpoll reports whether netpoll gets the server's listener.
func (tr Transport) listensWithNetpoll() bool { return tr == Netpoll || tr == NetpollMux }
