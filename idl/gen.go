// Package idl holds the IDL of the services that Kiteline's tests, benchmarks and examples call,
// and below kitex_gen the code Kitex generates from it.
//
// After a change to an IDL run
//
//	go generate ./idl
//
// and commit both. kitex_gen is written by the generator alone: files it no longer writes are to be
// removed by hand, everything else there is overwritten. The generator is the one that
// tools/go.mod pins; it needs no thriftgo and no protoc.
//
// Without -service the generator writes no handler, main package or build scripts. With -streamx
// streams get the interface whose methods take a context, and Thrift streams run over TTHeader.
//
// Below kitex_gen/frugal the types of echo.thrift have no code of their own that reads and writes
// them: Kitex leaves that to frugal.
package idl

//go:generate go tool -modfile=../tools/go.mod kitex -module github.com/kiteline/kiteline echo.thrift
//go:generate go tool -modfile=../tools/go.mod kitex -module github.com/kiteline/kiteline -no-fast-api -gen-path kitex_gen/frugal echo.thrift
//go:generate go tool -modfile=../tools/go.mod kitex -module github.com/kiteline/kiteline -streamx echostream.thrift
//go:generate go tool -modfile=../tools/go.mod kitex -module github.com/kiteline/kiteline -streamx echopb.proto
