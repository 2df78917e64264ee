package conn

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kiteline/kiteline/transport/poller"
)

// ServerStats is a snapshot of a Server. Its figures fit together.
type ServerStats struct {
	Listeners int // that are accepted from
	Conns     int // open connections
	Arriving  int // accepted wrappers of a net.Conn that are not open yet

	Accepted     uint64 // connections accepted so far
	AcceptErrors uint64 // failures so far that OnAcceptError is for, except ErrAcceptStuck
}

// describe returns the figures as text for people.
func (s ServerStats) describe() string {
	return fmt.Sprintf("listeners %d, connections %d (%d arriving), accepted %d, accept errors %d",
		s.Listeners, s.Conns, s.Arriving, s.Accepted, s.AcceptErrors)
}

// Stats returns what the server has and has done. It may be called from any goroutine, also after
// Close, and does not block.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statsLocked()
}

func (s *Server) statsLocked() ServerStats {
	return ServerStats{
		Listeners:    len(s.listeners),
		Conns:        len(s.conns),
		Arriving:     len(s.arriving),
		Accepted:     s.accepted,
		AcceptErrors: s.acceptErrors,
	}
}

// DumpText writes the server's state as text for people: a line for the server and one for each
// connection, in the order of the peers' addresses.
func (s *Server) DumpText(w io.Writer) error {
	s.mu.Lock()
	head := fmt.Sprintf("%s: %s\n", s.phase, s.statsLocked().describe())
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	return dump(w, head, conns)
}

// GroupStats is a snapshot of a Group. Its figures are read one after another, so while
// connections are in use they may not fit together.
type GroupStats struct {
	Conns     int // connections in the group
	InUse     int // of those, the ones that the sweep looks after: used in this tick or the last
	Queued    int // of those, the ones that wait for a worker
	Lingering int // workers that wait on a connection's socket

	Workers int // goroutines that serve connections, the parked ones included
	Parked  int // of those, the ones without work

	Pollers []poller.Stats // see poller.Group.Stats; empty where there are none
}

// describe returns the figures as text for people.
func (s GroupStats) describe() string {
	watched := 0
	for _, p := range s.Pollers {
		watched += p.Connections
	}
	return fmt.Sprintf("connections %d (%d in use, %d queued), workers %d (%d parked, %d lingering), pollers %d (%d connections)",
		s.Conns, s.InUse, s.Queued, s.Workers, s.Parked, s.Lingering, len(s.Pollers), watched)
}

// Stats returns what is in the group. It may be called from any goroutine, also after Close.
func (g *Group) Stats() GroupStats {
	stats := GroupStats{
		Conns: g.members.len(),
		InUse: int(g.sweeper.inUse.Load()),
	}
	g.dispatcher.count(&stats)
	if g.pollers != nil {
		stats.Pollers = g.pollers.Stats()
	}
	return stats
}

// DumpText writes the group's state as text for people: a line for the group and one for each
// connection, in the order of the peers' addresses.
func (g *Group) DumpText(w io.Writer) error {
	return dump(w, g.Stats().describe()+"\n", g.members.list())
}

// dump writes head, and a line about each of conns.
func dump(w io.Writer, head string, conns []*Conn) error {
	lines := make([]string, len(conns))
	for i, c := range conns {
		lines[i] = c.describe()
	}
	slices.Sort(lines)
	_, err := io.WriteString(w, head+strings.Join(lines, ""))
	return err
}

// describe returns a line about the connection. It does not ask the socket, which may be a wrapper
// that waits for the peer.
func (c *Conn) describe() string {
	line := fmt.Sprintf("  %v: %v, %d bytes to write, pressure %v", c.remote, word(c.state.Load()), c.Pending(), c.Pressure())
	if err := c.Err(); err != nil {
		line += fmt.Sprintf(", ended: %v", err)
	}
	return line + "\n"
}
