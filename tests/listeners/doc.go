// Package listeners tests how servers stop on listeners that programs wrap: to limit connections,
// to read a PROXY header, to encrypt, or in a way that keeps Accept from returning. It is a module
// of its own because it requires github.com/pires/go-proxyproto, which users of Kiteline do not
// need.
//
//	go test ./...             seconds: every stop ends, and what can be answered is
//	go test -tags long ./...  minutes, with nothing else running: every stop ends in time
package listeners
