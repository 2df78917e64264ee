// Package mux tests what calls on one connection promise each other, with whole Kitex clients and
// servers: a reset, a peer that does not read, a large reply and a million calls.
//
// The full run is
//
//	go test -tags long ./tests/mux
package mux
