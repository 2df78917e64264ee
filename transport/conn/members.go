package conn

import "sync"

// members are the connections of a Group, from newConn to their teardown.
type members struct {
	mu     sync.Mutex // taken inside any lock of a Conn
	closed bool       // guarded by mu: join refuses
	first  *Conn      // guarded by mu: a list, linked by Conn.member
	count  int        // guarded by mu: its length
}

// membership is a connection's place in the list of its members; guarded by members.mu.
type membership struct{ next, prev *Conn }

// join adds c. It reports false if the group is closed.
func (m *members) join(c *Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	c.member.next = m.first
	if m.first != nil {
		m.first.member.prev = c
	}
	m.first = c
	m.count++
	return true
}

// leave removes c, which has joined.
func (m *members) leave(c *Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.member.prev != nil {
		c.member.prev.member.next = c.member.next
	} else {
		m.first = c.member.next
	}
	if c.member.next != nil {
		c.member.next.member.prev = c.member.prev
	}
	c.member.next, c.member.prev = nil, nil
	m.count--
}

// close makes join refuse from now on, and returns the members that are left.
func (m *members) close() []*Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return m.listLocked()
}

// len returns how many members there are.
func (m *members) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// list returns the members.
func (m *members) list() []*Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.listLocked()
}

func (m *members) listLocked() []*Conn {
	all := make([]*Conn, 0, m.count)
	for c := m.first; c != nil; c = c.member.next {
		all = append(all, c)
	}
	return all
}
