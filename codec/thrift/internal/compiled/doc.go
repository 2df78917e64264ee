// Package compiled decodes and encodes the structs for which Kitex generates code, by a plan that
// it makes of each type once.
//
// # Usage
//
//	s, err := compiled.Of(reflect.TypeOf(request)) // cached; an error says to use FastRead and FastWrite
//	n, err := s.Decode(frame, request, nil)
//	err = s.Encode(writer, request)
//
// A plan comes from what package schema knows of the type. What a plan reads and writes has the
// same value and the same bytes as with the generated FastRead and FastWrite. Of tries that out on
// samples of the type, and so refuses types whose generated code does something that no tag shows,
// such as refusing sets with duplicates. Types without generated code are refused too.
//
// # Where it differs
//
// Messages that lie are errors, each a *binary.Error: more nesting than Limits.MaxDepth, counts and
// lengths that the bytes left do not bear out, type bytes that no value has, elements whose type on
// the wire is laid out otherwise than the declared one. Unknown fields of type uuid are skipped,
// not refused. A union with none or several of its fields set is an error of Encode's, not a panic.
//
// Everything that is allocated for values is counted before it is, by the accounting of package
// schema, and bounded by Limits.MaxElementBytes. A message that is refused takes less than four
// times its bytes and 64 KiB: before values take more, the rest of the message is checked by
// package shape, once.
//
// # Ownership
//
// The frame belongs to the collector once Decode has it: strings and binaries of the result point
// into it where they are at least a PinRatio-th of it, so that none of them keeps much more memory
// than it uses. Shorter ones are copied, many into one chunk of 3 KiB at most, where they are close
// together with what is between them; the values of frames no longer than 4 KiB all point into the
// frame. Binaries may be written to and appended to without harm to other values.
//
// Encode keeps strings and binaries of 4 KiB and more by reference: they must not change until the
// Writer has been flushed.
//
// # Concurrency
//
// All functions may be called by any number of goroutines. A value must not change while it is
// encoded.
package compiled
