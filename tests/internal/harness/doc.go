// Package harness is what the whole-system tests share: Kitex servers and clients on a choice of
// transports, the service that they call, and observers of what a transport must not leave behind
// (goroutines, descriptors, log lines).
//
// A server or client made here ends with its test. A server of a transport that keeps Kitex's
// contract is also checked when it ends: OnInactive came exactly once for each connection.
package harness
