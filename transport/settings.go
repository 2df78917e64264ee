package transport

import (
	"sync"
	"time"

	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/pool"
)

// settings is what the options for either side amount to. Immutable once made.
type settings struct {
	given   []option // by name, in order
	refused error    // names those without a use where they were given; nil: none

	group         *conn.Group   // nil: the process's default group
	writeTimeout  time.Duration // negative: none; zero: the side's default
	kitexCodec    bool          // Kitex's codec reads and writes Thrift, not codec/thrift
	maxFrame      int           // bytes of a message's payload; zero: the default, negative: no limit
	onPressure    func(c *conn.Conn, p conn.Pressure)
	highWatermark int
	lowWatermark  int
}

// serverSettings is what the options of a server, or of a part of one, amount to. Immutable after
// newServerSettings.
type serverSettings struct {
	settings

	acceptors int
	mux       MuxServerConfig
}

// clientSettings is what the options of a client, or of a part of one, amount to. Immutable after
// newClientSettings.
type clientSettings struct {
	settings

	pool          *pool.Config // nil: what Kitex's own options say
	mux           pool.MuxConfig
	kitexTimeouts bool // Kitex's goroutines keep the calls' timeouts, not the transport
}

// newServerSettings returns what opts amount to for t. Its refused names those that t has no use
// for.
func newServerSettings(t taker, opts []ServerOption) serverSettings {
	var s serverSettings
	for _, opt := range opts {
		opt.applyToServer(&s)
	}
	s.refused = s.checkTaker(t)
	return s
}

// newClientSettings is newServerSettings for a client.
func newClientSettings(t taker, opts []ClientOption) clientSettings {
	var s clientSettings
	for _, opt := range opts {
		opt.applyToClient(&s)
	}
	s.refused = s.checkTaker(t)
	return s
}

// forServer is the ServerOption of that name, which set carries out.
type forServer struct {
	name option
	set  func(*serverSettings)
}

func (o forServer) applyToServer(s *serverSettings) {
	s.given = append(s.given, o.name)
	o.set(s)
}

// forClient is the ClientOption of that name, which set carries out.
type forClient struct {
	name option
	set  func(*clientSettings)
}

func (o forClient) applyToClient(s *clientSettings) {
	s.given = append(s.given, o.name)
	o.set(s)
}

// forBoth is the Option of that name, which set carries out.
type forBoth struct {
	name option
	set  func(*settings)
}

func (o forBoth) apply(s *settings) {
	s.given = append(s.given, o.name)
	o.set(s)
}

func (o forBoth) applyToServer(s *serverSettings) { o.apply(&s.settings) }
func (o forBoth) applyToClient(s *clientSettings) { o.apply(&s.settings) }

func (s *settings) writeTimeoutOr(d time.Duration) time.Duration {
	if s.writeTimeout != 0 {
		return s.writeTimeout
	}
	return d
}

// orNone returns d, of which zero means none, as package muxserver takes it: there less than zero
// does, and zero means a default.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// muxFrameBytes returns how long a multiplexed message may be, given the user's setting.
func (s *settings) muxFrameBytes(said int) int {
	if said > 0 {
		return said
	}
	return max(defaultMuxFrameBytes, withHeaders(s.maxFrame))
}

func (s *settings) groupOrDefault() (*conn.Group, error) {
	if s.group != nil {
		return s.group, nil
	}
	return defaultGroup()
}

// defaultGroup returns the group that suites share unless told otherwise. It is
// started on first use and lives as long as the process: a client's connections
// may outlive every object that knows of it.
//
//nolint:gochecknoglobals // the one thing that the suites of a process share
var defaultGroup = sync.OnceValues(func() (*conn.Group, error) {
	return conn.NewGroup(conn.GroupConfig{})
})
