package transport

import "time"

// MuxServerConfig says how a server answers multiplexed calls. Zero stands for the default.
// It does not affect calls that each have a connection of their own.
type MuxServerConfig struct {
	// MaxHandlers limits how many calls are handled at a time, those that wait for a goroutine
	// included. Further calls of clients with NewMuxClientSuite are refused, and the client sends
	// them again within their time. Connections of other clients are not read until there is room.
	// Oneways are not refused, and count separately. Zero or less means no limit.
	MaxHandlers int

	// MaxHandlersPerConn is the same for the calls of one connection. Zero or less means no limit
	// for clients with NewMuxClientSuite, and 1024 for others.
	MaxHandlersPerConn int

	// MaxRequestBytes limits the bytes of the requests that the server holds for clients with
	// NewMuxClientSuite: those without a reply yet, each counting 4 KiB more than its length.
	// Further requests are refused before they have arrived whole. A request alone is taken,
	// however long it is. The first 16 KiB of each connection do not count. Oneways are not
	// refused: if they alone reach the limit, their connection is not read until there is room.
	// Zero or less means 256 MiB.
	MaxRequestBytes int64

	// MaxRequestBytesPerConn is the same for the requests of one connection. Clients are told this
	// limit, and open further connections when they reach it. Zero or less means 64 MiB.
	MaxRequestBytesPerConn int64

	// MaxFrameBytes limits the length of a request or a reply, its header included. A longer
	// request fails in a client that knows the limit. Otherwise it is answered with an exception,
	// and so is a request whose reply is longer. Zero or less means 64 MiB, or as much as
	// WithMaxFrame needs if that is more.
	MaxFrameBytes int

	// Heartbeat is how often the server checks on clients with NewMuxClientSuite that send nothing.
	// A client that has vanished is found within twice that time, and its connections are closed.
	// Zero means 30 s, negative never.
	Heartbeat time.Duration

	// CancelHandlers ends the contexts of calls, with context.Canceled, when the client has gone or
	// no longer waits for the reply, or the connection is closed. Kitex's contexts do not end, and
	// by default neither do these: a context that can end costs every call that a handler makes
	// with it. A client with NewMuxClientSuite that closes only its writing side counts as gone.
	CancelHandlers bool
}

const (
	defaultMuxFrameBytes = 64 << 20 // on both sides; package pool has the same default
	defaultMuxHeartbeat  = 30 * time.Second
)
