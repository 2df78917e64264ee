package conn

import "sync"

// members are the connections of a Group, from newConn to their teardown.
type members struct {
	mu     sync.Mutex // taken inside any lock of a Conn
	closed bool       // guarded by mu: join refuses
	first  *Conn      // guarded by mu: a list, linked by Conn.nextMember and prevMember
}

// join adds c. It reports false if the group is closed.
func (m *members) join(c *Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	c.nextMember = m.first
	if m.first != nil {
		m.first.prevMember = c
	}
	m.first = c
	return true
}

// leave removes c, which has joined.
func (m *members) leave(c *Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.prevMember != nil {
		c.prevMember.nextMember = c.nextMember
	} else {
		m.first = c.nextMember
	}
	if c.nextMember != nil {
		c.nextMember.prevMember = c.prevMember
	}
	c.nextMember, c.prevMember = nil, nil
}

// close makes join refuse from now on, and returns the members that are left.
func (m *members) close() []*Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	var left []*Conn
	for c := m.first; c != nil; c = c.nextMember {
		left = append(left, c)
	}
	return left
}
