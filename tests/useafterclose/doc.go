// Package useafterclose calls every exported method of what can be closed before, while and after
// it is closed: by this side, by the peer's FIN and RST, and by a timeout. No call panics or hangs,
// and what it returns is typed.
//
// Methods are found by reflection and called with made-up arguments, so that one that is added is
// called too, or fails the test until it is said how.
//
// There are no tests without a poller, where the FIN of a connection that nobody reads is not seen.
package useafterclose
