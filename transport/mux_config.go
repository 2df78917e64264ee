package transport

import (
	"cmp"
	"context"
	"time"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/conn"
)

// MuxConfig says how the calls of a client share connections. Zero values stand for the defaults.
// What each bounds is said at mux.Config, where MaxPooledConns is MaxUnshared. MaxInFlight,
// MaxPendingBytes, MaxFrameBytes, ReadTimeout and Heartbeat have no meaning for connections that
// are not shared, after the first call on each.
type MuxConfig struct {
	MaxConns        int           // connections to an address that multiplexes; default 2
	MaxPooledConns  int           // connections to one that does not; default 1024
	MaxInFlight     int           // calls in flight on a connection; default 32768
	MaxPendingBytes int           // bytes that wait on a connection; default 16 MiB
	MaxFrameBytes   int           // of a request or a reply; default 64 MiB
	Overload        mux.Overload  // what a call does for which there is no room; default: it waits
	WriteTimeout    time.Duration // for each piece of 4 to 64 KiB that the peer is to take; default 10 s; negative: none
	ReadTimeout     time.Duration // for each 256 KiB of a reply that has begun to come; default 10 s; negative: none
	Heartbeat       time.Duration // default 30 s; negative: never
	IdleTimeout     time.Duration // default a minute; negative: never
	MaxAge          time.Duration // default never
}

// MuxServerConfig says how a server answers multiplexed calls. Zero values stand for the defaults.
// It has nothing to do with calls that have a connection each.
type MuxServerConfig struct {
	// MaxHandlers limits how many calls are handled at a time, those that wait for a goroutine
	// included. Further calls of clients of NewMuxClientSuite are refused, and sent again by the
	// client within their time; connections of other clients are not read until there is room.
	// Oneways are not refused, and count by themselves besides. Zero or less means no limit.
	MaxHandlers int

	// MaxHandlersPerConn is the same for the calls of one connection. Zero or less means no limit
	// for clients of NewMuxClientSuite, and 1024 for others.
	MaxHandlersPerConn int

	// MaxRequestBytes limits the bytes of the requests that the server holds for clients of
	// NewMuxClientSuite: those that have no reply yet, each counting for 4 KiB more. Further
	// requests are refused before they have come whole. A request alone is taken, however long it
	// is; the first 16 KiB of each connection do not count. Oneways are not refused: where they
	// alone meet the limit their connection is not read until there is room. Zero or less means 256
	// MiB.
	MaxRequestBytes int64

	// MaxRequestBytesPerConn is the same for the requests of one connection. Clients know it, and
	// use further connections. Zero or less means 64 MiB.
	MaxRequestBytesPerConn int64

	// MaxFrameBytes limits how long a request or a reply may be as a whole, its header included. A
	// longer request fails in the client, which knows the limit, or is answered with an exception;
	// so is a longer reply of the server's own. Zero or less means 64 MiB, or as much as
	// WithMaxFrame needs if that is more.
	MaxFrameBytes int

	// Heartbeat is how often the server looks after clients of NewMuxClientSuite that send nothing:
	// one that has gone without a word is found within twice as much, and its connections are
	// closed. Zero means 30 s, negative never.
	Heartbeat time.Duration

	// CancelHandlers has the contexts of calls end, with context.Canceled, when their client has
	// gone, has told that it no longer waits for the reply, or their connection is closed. Kitex's
	// do not, and by default neither do these: a context that can end costs every call that a
	// handler makes with it. A client that only closes its writing side has gone if it is one of
	// NewMuxClientSuite.
	CancelHandlers bool
}

const (
	defaultMuxConns        = 2
	defaultMuxPooledConns  = 1024
	defaultMuxInFlight     = mostMuxInFlight
	mostMuxInFlight        = 1 << 15
	defaultMuxPendingBytes = 16 << 20
	defaultMuxFrameBytes   = 64 << 20
	defaultMuxWriteTimeout = 10 * time.Second
	defaultMuxReadTimeout  = 10 * time.Second
	defaultMuxHeartbeat    = 30 * time.Second
	defaultMuxIdle         = time.Minute
)

// withDefaults returns what is in force. It leaves nothing to the defaults of mux.Config, so that a
// dump shows it.
func (cfg MuxConfig) withDefaults() MuxConfig {
	for _, field := range []struct {
		value    *int
		standard int
	}{
		{&cfg.MaxConns, defaultMuxConns},
		{&cfg.MaxPooledConns, defaultMuxPooledConns},
		{&cfg.MaxInFlight, defaultMuxInFlight},
		{&cfg.MaxPendingBytes, defaultMuxPendingBytes},
		{&cfg.MaxFrameBytes, defaultMuxFrameBytes},
	} {
		if *field.value <= 0 {
			*field.value = field.standard
		}
	}
	cfg.MaxInFlight = min(cfg.MaxInFlight, mostMuxInFlight)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, defaultMuxWriteTimeout)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, defaultMuxReadTimeout)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, defaultMuxHeartbeat)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, defaultMuxIdle)
	return cfg
}

// forgetAfter returns how long an address without connections and calls is remembered, also where
// idle connections are kept forever.
func (cfg MuxConfig) forgetAfter() time.Duration {
	if cfg.IdleTimeout <= 0 {
		return defaultMuxIdle
	}
	return cfg.IdleTimeout
}

// apart returns the configuration of the pool of connections that are not shared. The sets limit
// how many there are.
func (cfg MuxConfig) apart() PoolConfig {
	return PoolConfig{
		MaxIdlePerAddress: cfg.MaxPooledConns,
		MaxIdleGlobal:     -1,
		MaxIdleTimeout:    cfg.IdleTimeout,
		MaxAge:            cfg.MaxAge,
	}
}

// set returns the configuration of an address.
func (cfg MuxConfig) set(dial func(ctx context.Context) (*conn.Conn, error)) mux.Config {
	return mux.Config{
		Dial:            dial,
		MaxConns:        cfg.MaxConns,
		MaxUnshared:     cfg.MaxPooledConns,
		MaxInFlight:     cfg.MaxInFlight,
		MaxPendingBytes: cfg.MaxPendingBytes,
		MaxFrameBytes:   cfg.MaxFrameBytes,
		Overload:        cfg.Overload,
		WriteTimeout:    cfg.WriteTimeout,
		ReadTimeout:     cfg.ReadTimeout,
		Heartbeat:       cfg.Heartbeat,
		IdleTimeout:     cfg.IdleTimeout,
		MaxAge:          cfg.MaxAge,
	}
}
