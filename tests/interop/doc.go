// Package interop calls every kind of Kitex peer over every protocol, Kiteline on at
// least one side: no call may fail, and each answer has to be what was sent.
//
// By default a cell of the matrix gets a few hundred calls. The full run is
//
//	go test ./tests/interop -args -long
package interop
