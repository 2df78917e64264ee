// Package compact has the format of Thrift's compact protocol: the first bytes of a message, the
// types, the headers of fields and containers, and integers of variable length.
//
// It reads no values and knows no limits. Two packages do: codec/thrift/wire/internal/transcode
// turns messages into the binary protocol and back, and codec/thrift/apache, which is a module of
// its own, reads and writes values for the code of Apache's compiler. A released version of that
// module may meet a later one of this package, so names here stay.
//
// All functions are pure, and functions named Append return the longer slice as append does.
package compact
