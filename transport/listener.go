package transport

import (
	"net"
	"reflect"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/conn"
)

// servable returns ln, or the listener that is served in its place. The Accept of netpoll's own
// listeners does not wait, so their sockets are accepted from directly. Their Close closes a
// descriptor number twice, as under netpoll's own server, so it is called only once.
func servable(ln net.Listener) (net.Listener, error) {
	if !isNetpolls(ln) {
		return ln, nil
	}
	return conn.FromDescriptor(ln.(netpoll.Listener)) //nolint:errcheck // all of them are
}

// isNetpolls reports whether ln was made by netpoll and is not a wrapper around such a listener,
// which may have an Accept of its own.
func isNetpolls(ln net.Listener) bool {
	t := reflect.TypeOf(ln)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	_, ok := ln.(netpoll.Listener)
	return ok && t.PkgPath() == reflect.TypeFor[netpoll.Listener]().PkgPath()
}
