package pool

import (
	"math"
	"time"
)

// Config says how many connections a Pool keeps and for how long. The zero value is Kitex's own
// default: 10 idle connections per address, 100 in all, closed after a minute.
type Config struct {
	// MinIdlePerAddress is how many idle connections of an address stay open after MaxIdleTimeout
	// has passed. MaxAge and the peer still end them. Zero or less keeps none.
	MinIdlePerAddress int

	// MaxIdlePerAddress is how many idle connections of an address are kept. A connection put back
	// beyond that is closed. Zero means 10, or MinIdlePerAddress if that is more; negative keeps
	// none, so every call has a connection of its own.
	MaxIdlePerAddress int

	// MaxIdleGlobal is how many idle connections are kept for all addresses of
	// the pool together. Zero means 100, or MaxIdlePerAddress if that is more;
	// negative means no limit.
	MaxIdleGlobal int

	// MaxConnsPerAddress is how many connections to an address may be open or being opened. With
	// that many in use Get waits for its turn. Zero or less means no limit.
	MaxConnsPerAddress int

	// MaxIdleTimeout is how long a connection may be idle. It is closed after between once and 1.1
	// times that. Zero means a minute; negative means forever. An address without connections is
	// forgotten after the same time, or after a minute if that is forever.
	MaxIdleTimeout time.Duration

	// MaxAge is how long after its dial a connection is used, so that the load follows when servers
	// are added behind an address. Each connection has its own age, up to a tenth more or less, so
	// that not all end at once. A call in flight is not disturbed: its connection is closed when
	// put back. Zero or less means no limit.
	MaxAge time.Duration
}

const (
	defaultMaxIdlePerAddress = 10
	defaultMaxIdleGlobal     = 100
	defaultMaxIdleTimeout    = time.Minute

	unlimited = math.MaxInt
)

// normalized returns cfg with every default filled in, no limit as unlimited or as forever, and no
// idle connections as -1. Normalized again it stays as it is, so that a pool with the Config of
// another is like it.
func (cfg Config) normalized() Config {
	cfg.MinIdlePerAddress = max(cfg.MinIdlePerAddress, 0)
	switch {
	case cfg.MaxIdlePerAddress < 0:
		cfg.MinIdlePerAddress, cfg.MaxIdlePerAddress = 0, -1
	case cfg.MaxIdlePerAddress == 0:
		cfg.MaxIdlePerAddress = max(defaultMaxIdlePerAddress, cfg.MinIdlePerAddress)
	default:
		cfg.MinIdlePerAddress = min(cfg.MinIdlePerAddress, cfg.MaxIdlePerAddress)
	}
	switch {
	case cfg.MaxIdleGlobal < 0:
		cfg.MaxIdleGlobal = unlimited
	case cfg.MaxIdleGlobal == 0:
		cfg.MaxIdleGlobal = max(defaultMaxIdleGlobal, cfg.MaxIdlePerAddress)
	}
	if cfg.MaxConnsPerAddress <= 0 {
		cfg.MaxConnsPerAddress = unlimited
	}
	switch {
	case cfg.MaxIdleTimeout < 0:
		cfg.MaxIdleTimeout = forever
	case cfg.MaxIdleTimeout == 0:
		cfg.MaxIdleTimeout = defaultMaxIdleTimeout
	}
	if cfg.MaxAge <= 0 {
		cfg.MaxAge = forever
	}
	return cfg
}

// Config returns the configuration in force, with the defaults filled in. New makes a pool like p
// of it.
func (p *Pool) Config() Config { return p.config }

// forgetAfter returns how long an address without connections is remembered, even if idle
// connections are kept forever.
func (cfg *Config) forgetAfter() time.Duration {
	if cfg.MaxIdleTimeout == forever {
		return defaultMaxIdleTimeout
	}
	return cfg.MaxIdleTimeout
}
