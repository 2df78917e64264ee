package testpeer

import "net"

// Ending is a way in which a peer stops in the middle of a stream.
type Ending struct {
	Name   string
	Do     func(nc net.Conn)
	Resets bool // the other side may lose what it has not read
	Reads  bool // the peer reads on
}

// Endings returns all endings.
func Endings() []Ending {
	return []Ending{
		{"FIN", func(nc net.Conn) { nc.Close() }, false, false},
		{"half-close", func(nc net.Conn) { _ = nc.(*net.TCPConn).CloseWrite() }, false, true},      //nolint:errcheck // over TCP
		{"RST", func(nc net.Conn) { _ = nc.(*net.TCPConn).SetLinger(0); nc.Close() }, true, false}, //nolint:errcheck // over TCP
	}
}
