// Package useafterclose calls every exported method of every type that can be closed before, during
// and after the close: by this side, by the peer's FIN and RST, and by a timeout. No call panics or
// hangs, and errors are typed.
//
// Methods are found by reflection and called with made-up arguments. So a new method is called too,
// or fails the test until the test says how to call it.
//
// There are no tests without a poller, because the FIN of an unread connection is not seen there.
package useafterclose
