package pool

import (
	"cmp"
	"context"
	"time"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/conn"
)

// MuxConfig says how the calls of a client share connections. Zero stands for the default, and so
// does less than zero unless the field says otherwise. The fields of mux.Config say more;
// MaxPooledConns is MaxUnshared there. On connections that are not shared, MaxInFlight,
// MaxPendingBytes, ReadTimeout and Heartbeat mean nothing after the first call, and MaxFrameBytes
// limits only replies.
type MuxConfig struct {
	MaxConns        int           // shared connections to an address that multiplexes; default 2
	MaxPooledConns  int           // connections to an address that does not; default 1024
	MaxInFlight     int           // calls in flight on a connection; default and most 32768
	MaxPendingBytes int           // bytes that wait to be written on a connection; default 16 MiB
	MaxFrameBytes   int           // of a request or a reply; default 64 MiB
	Overload        mux.Overload  // what a call does if there is no room; default: it waits
	WriteTimeout    time.Duration // for each 4 to 64 KiB written; default 10 s; negative: none
	ReadTimeout     time.Duration // for each 256 KiB of a reply; default 10 s; negative: none
	Heartbeat       time.Duration // between looks at a silent peer; default 30 s; negative: never
	IdleTimeout     time.Duration // without a call; default a minute; negative: never
	MaxAge          time.Duration // at which a connection is replaced; default never
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

// withDefaults returns the configuration in force. It leaves nothing to the defaults of mux.Config,
// so that a dump shows every value.
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

// Config returns the configuration in force: zeros that stood for defaults have their values.
func (p *Mux) Config() MuxConfig { return p.config }

// forgetAfter returns how long an address without connections and calls is remembered, even if idle
// connections are kept forever.
func (cfg MuxConfig) forgetAfter() time.Duration {
	if cfg.IdleTimeout <= 0 {
		return defaultMuxIdle
	}
	return cfg.IdleTimeout
}

// apart returns the configuration of the pool of connections that are not shared. The sets limit
// their number.
func (cfg MuxConfig) apart() Config {
	return Config{
		MaxIdlePerAddress: cfg.MaxPooledConns,
		MaxIdleGlobal:     -1,
		MaxIdleTimeout:    cfg.IdleTimeout,
		MaxAge:            cfg.MaxAge,
	}
}

// set returns the configuration of an address's Set.
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
