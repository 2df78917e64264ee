package thrift

import (
	"fmt"
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift/internal/charge"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// Kind says what is wrong with a message.
type Kind uint8

// The kinds of Error.
const (
	Truncated       Kind = iota + 1 // a value ends after the message
	NegativeLength                  // a length or count is below zero
	TooLarge                        // a length, count or frame above a limit or what is left
	TooDeep                         // structs and containers nested deeper than the limit
	BadType                         // an unknown type byte, or not the declared type
	BadHeader                       // the message does not begin like the binary protocol
	TrailingBytes                   // the frame goes on after the message's end
	MissingRequired                 // a struct without one of its required fields
	BadValue                        // well-formed parts, but no value of the declared type
)

// String says in a few words what is wrong.
func (k Kind) String() string { return tbinary.Kind(k).String() }

// Error is the error of a message that breaks the binary protocol or a limit. Kitex's errors wrap
// it: use errors.As, or errors.Is with a target that has nothing but its Kind.
type Error struct {
	Kind   Kind
	Offset int    // in the slice that was read, in bytes; -1 if it is not known
	Detail string // more about the error, may be empty
	Err    error  // the error of other code, such as a type's own, or nil
}

// Error implements error.
func (e *Error) Error() string {
	return (&tbinary.Error{Kind: tbinary.Kind(e.Kind), Offset: e.Offset, Detail: e.Detail, Err: e.Err}).Error()
}

// Unwrap returns the error of other code.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an Error of the same kind that has nothing but its kind, such as
// &Error{Kind: TooDeep}.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Offset <= 0 && t.Detail == "" && t.Err == nil
}

// Numbers of Thrift's protocol exceptions.
const (
	codeInvalidData  = 1
	codeNegativeSize = 2
	codeSizeLimit    = 3
	codeBadVersion   = 4
	codeDepthLimit   = 6
)

// TypeID returns the number of the Thrift protocol exception that Kitex has for this kind, or 0.
func (e *Error) TypeID() int32 {
	switch e.Kind {
	case Truncated, BadType, TrailingBytes, MissingRequired, BadValue:
		return codeInvalidData
	case NegativeLength:
		return codeNegativeSize
	case TooLarge:
		return codeSizeLimit
	case BadHeader:
		return codeBadVersion
	case TooDeep:
		return codeDepthLimit
	}
	return 0
}

// UnknownReaderError is the error of a message for a reader of Kitex's generic calls that this
// module does not know well enough to check the message, for example after an upgrade to a Kitex
// version that this module was not tested with. No such message is read. The message is not at
// fault: use a version of this module that knows that Kitex, or leave the messages to Kitex's
// codec, which checks nothing.
type UnknownReaderError struct {
	Reader reflect.Type // Kitex's type
	Field  string       // missing in Reader, or of another type; empty: Reader is unknown
}

// Error implements error.
func (e *UnknownReaderError) Error() string { return (*charge.UnknownReaderError)(e).Error() }

func newError(kind Kind, offset int, detail string) error {
	return &Error{Kind: kind, Offset: offset, Detail: detail}
}

func errFrame(n, limit int) error {
	return newError(TooLarge, -1, fmt.Sprintf("frame of %d bytes, at most %d", n, limit))
}

// public returns err for callers: the errors of internal packages become the types above. Those
// packages cannot return these types, because this one imports them.
func public(err error) error {
	switch e := err.(type) { //nolint:errorlint // internal packages wrap none of them
	case *tbinary.Error:
		return &Error{Kind: Kind(e.Kind), Offset: e.Offset, Detail: e.Detail, Err: e.Err}
	case *charge.UnknownReaderError:
		return (*UnknownReaderError)(e)
	}
	return err
}
