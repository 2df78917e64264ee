// Package compiled decodes and encodes the structs that Kitex generates code for, by a plan that it
// makes once for each type.
//
// # Usage
//
//	s, err := compiled.Of(reflect.TypeOf(request)) // cached; an error says to use FastRead and FastWrite
//	n, err := s.Decode(frame, request, nil)
//	err = s.Encode(writer, request)
//
// A plan comes from what package schema knows of the type. It reads and writes the same values and
// the same bytes as the generated FastRead and FastWrite. Of tries that out on samples of the type.
// So it refuses types whose generated code does something that no tag shows, such as refusing sets
// with duplicates. It also refuses types without generated code.
//
// # Where it differs
//
// Malformed messages are errors, each a *tbinary.Error: more nesting than Limits.MaxDepth, counts
// and lengths that exceed the bytes left, type bytes that no value has, elements of a type with a
// layout other than that of the declared type. Unknown fields of type uuid are skipped, not
// refused. A union with none or several of its fields set is an error of Encode, not a panic.
//
// Everything that is allocated for values is counted first, by the accounting of package schema,
// and bounded by Limits.MaxElementBytes. A message that is refused takes less than four times its
// bytes and 64 KiB: before values take more, package shape checks the rest of the message, once.
//
// # Ownership
//
// The frame belongs to the collector once Decode has it: strings and binaries of the result point
// into the frame if they are at least a PinRatio-th of it, so that none of them keeps much more
// memory than it uses. Shorter ones are copied. Many of them share one chunk of at most 3 KiB, with
// the bytes between them if they are close together. The values of frames no longer than 4 KiB all
// point into the frame. Binaries may be written to and appended to without harm to other values.
//
// Encode keeps strings and binaries of 4 KiB and more by reference: they must not change until the
// Writer has been flushed.
//
// # Concurrency
//
// All functions may be called by any number of goroutines. A value must not change while it is
// encoded.
package compiled
