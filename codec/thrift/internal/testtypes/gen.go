// Package testtypes holds the IDL of the types that the tests of packages schema and compiled use,
// and below kitex_gen the code that Kitex generates from it: from zoo.thrift as usual, from the
// others with options. After a change run
//
//	go generate ./codec/thrift/internal/testtypes
//
// and commit both. The variant that keeps unknown fields uses a type for them that needs none of
// the generator's own packages.
package testtypes

//go:generate go tool -modfile=../../../../tools/go.mod kitex -module github.com/kiteline/kiteline zoo.thrift
//go:generate go tool -modfile=../../../../tools/go.mod kitex -module github.com/kiteline/kiteline -gen-path kitex_gen/keep -thrift keep_unknown_fields,use_package=github.com/cloudwego/thriftgo/generator/golang/extension/unknown=github.com/kiteline/kiteline/codec/thrift/internal/testtypes/unknown keep/variants.thrift
//go:generate go tool -modfile=../../../../tools/go.mod kitex -module github.com/kiteline/kiteline -gen-path kitex_gen/uniquesets -thrift validate_set sets/variants.thrift
//go:generate go tool -modfile=../../../../tools/go.mod kitex -module github.com/kiteline/kiteline -gen-path kitex_gen/byvalue -thrift value_type_in_container,enum_as_int_32,reorder_fields variants.thrift
//go:generate go tool -modfile=../../../../tools/go.mod kitex -module github.com/kiteline/kiteline -gen-path kitex_gen/thrifttags -thrift frugal_tag=false variants.thrift
//go:generate go tool -modfile=../../../../tools/go.mod kitex -module github.com/kiteline/kiteline -gen-path kitex_gen/thrifttags -thrift frugal_tag=false writers.thrift
//go:generate go tool -modfile=../../../../tools/go.mod kitex -module github.com/kiteline/kiteline -gen-path kitex_gen/frugalstruct -frugal-struct @all variants.thrift
//go:generate go tool -modfile=../../../../tools/go.mod kitex -module github.com/kiteline/kiteline -gen-path kitex_gen/frugalstruct -frugal-struct @all writers.thrift
