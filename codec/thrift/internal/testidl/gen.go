// Package testidl holds the IDL of the types that the tests of codec/thrift use, and below
// kitex_gen the code that Kitex generates from it. After a change run
//
//	go generate ./codec/thrift/internal/testidl
//
// and commit both, as package idl says.
package testidl

//go:generate go tool -modfile=../../../../tools/go.mod kitex -module github.com/kiteline/kiteline types.thrift
