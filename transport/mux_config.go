package transport

import (
	"context"
	"time"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/conn"
)

// MuxConfig says how the calls of a client share connections. Zero values stand for the
// defaults. What each bounds is said at mux.Config.
type MuxConfig struct {
	MaxConns        int           // connections to an address that multiplexes; default 2
	MaxPooledConns  int           // connections to one that does not; default 1024
	MaxInFlight     int           // calls in flight on a connection; default 4096
	MaxPendingBytes int           // bytes that wait on a connection; default 16 MiB
	MaxFrameBytes   int           // of a request or a reply; default 64 MiB
	Overload        mux.Overload  // what a call does for which there is no room; default: it waits
	WriteTimeout    time.Duration // for each piece of 4 to 64 KiB that the peer is to take; default 10 s; negative: none
	Heartbeat       time.Duration // default 30 s; negative: never
	IdleTimeout     time.Duration // default a minute; negative: never
	MaxAge          time.Duration // default never
}

const (
	defaultMuxConns     = 2
	defaultMuxHeartbeat = 30 * time.Second
	defaultMuxIdle      = time.Minute

	defaultMuxFrameBytes = 64 << 20
)

func (cfg MuxConfig) withDefaults() MuxConfig {
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = defaultMuxConns
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = defaultMuxHeartbeat
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = defaultMuxIdle
	}
	return cfg
}

// set returns the configuration of an address.
func (cfg MuxConfig) set(dial func(ctx context.Context) (*conn.Conn, error)) mux.Config {
	return mux.Config{
		Dial:            dial,
		MaxConns:        cfg.MaxConns,
		MaxPooledConns:  cfg.MaxPooledConns,
		MaxInFlight:     cfg.MaxInFlight,
		MaxPendingBytes: cfg.MaxPendingBytes,
		MaxFrameBytes:   cfg.MaxFrameBytes,
		Overload:        cfg.Overload,
		WriteTimeout:    cfg.WriteTimeout,
		Heartbeat:       cfg.Heartbeat,
		IdleTimeout:     cfg.IdleTimeout,
		MaxAge:          cfg.MaxAge,
	}
}
