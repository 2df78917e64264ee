package tbinary

import (
	"fmt"
	"strconv"
)

// Kind says what is wrong with a message. The kinds and their numbers are those of codec/thrift,
// which turns an Error into its own: it imports this package, so the type cannot be one.
type Kind uint8

// The kinds of errors.
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
	numKinds
)

var kinds = [numKinds]string{
	Truncated:       "message ends inside a value",
	NegativeLength:  "negative length",
	TooLarge:        "length above the limit",
	TooDeep:         "nested too deep",
	BadType:         "invalid type",
	BadHeader:       "invalid message header",
	TrailingBytes:   "bytes after the end of the message",
	MissingRequired: "required field is not set",
	BadValue:        "invalid value",
}

// String says in a few words what is wrong.
func (k Kind) String() string {
	if k == 0 || k >= numKinds {
		return "kind " + strconv.Itoa(int(k))
	}
	return kinds[k]
}

// Error is the error of a message that breaks the protocol or a limit.
type Error struct {
	Kind   Kind
	Offset int    // in the slice that was read, in bytes; -1 if it is not known
	Detail string // more about the error, may be empty
	Err    error  // the error of other code, or nil
}

// NewError returns an Error of this kind at offset.
func NewError(kind Kind, offset int, detail string) *Error {
	return &Error{Kind: kind, Offset: offset, Detail: detail}
}

// Error implements error.
func (e *Error) Error() string {
	s := "thrift: " + e.Kind.String()
	if e.Offset >= 0 {
		s += " at byte " + strconv.Itoa(e.Offset)
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the error of other code.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an Error of the same kind that has nothing but its kind, such as
// &Error{Kind: TooDeep}.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Offset <= 0 && t.Detail == "" && t.Err == nil
}

func truncated(offset int) error { return &Error{Kind: Truncated, Offset: offset} }

func badType(offset int, t Type) error {
	return &Error{Kind: BadType, Offset: offset, Detail: t.String()}
}

func badCount(offset, count, limit int) error {
	if count < 0 {
		return &Error{Kind: NegativeLength, Offset: offset, Detail: strconv.Itoa(count)}
	}
	return &Error{Kind: TooLarge, Offset: offset, Detail: fmt.Sprintf("%d, at most %d", count, limit)}
}
