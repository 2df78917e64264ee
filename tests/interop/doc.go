// Package interop calls every kind of Kitex peer over every protocol, with Kiteline on at least one
// side: no call may fail, and each answer must be what was sent.
//
// By default a cell of the matrix gets a few hundred calls. The full run is
//
//	go test -tags long ./tests/interop
package interop
