package thrift

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/codec/thrift/internal/charge"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
)

// TestKinds compares the kinds, and the other constant that is written twice, with those of the
// internal packages.
func TestKinds(t *testing.T) {
	for k, want := range map[Kind]tbinary.Kind{
		Truncated: tbinary.Truncated, NegativeLength: tbinary.NegativeLength, TooLarge: tbinary.TooLarge,
		TooDeep: tbinary.TooDeep, BadType: tbinary.BadType, BadHeader: tbinary.BadHeader,
		TrailingBytes: tbinary.TrailingBytes, MissingRequired: tbinary.MissingRequired, BadValue: tbinary.BadValue,
	} {
		if uint8(k) != uint8(want) || k.String() != want.String() {
			t.Errorf("%d, %v: want %d, %v", k, k, want, want)
		}
		if id := (&Error{Kind: k}).TypeID(); id < thrift.INVALID_DATA || id > thrift.DEPTH_LIMIT {
			t.Errorf("%v: exception %d", k, id)
		}
	}
	for _, k := range []Kind{0, BadValue + 1, 255} {
		if id := (&Error{Kind: k}).TypeID(); id != 0 || !strings.HasPrefix(k.String(), "kind ") {
			t.Errorf("kind %d: %v, exception %d", k, k, id)
		}
	}
	if DefaultMaxFrame != tbinary.DefaultMaxFrame {
		t.Errorf("a default of %d, want %d", DefaultMaxFrame, tbinary.DefaultMaxFrame)
	}
}

// TestError checks what an Error says and matches, made by a caller or from an internal one.
func TestError(t *testing.T) {
	cause := errors.New("cause")
	for _, err := range []error{
		&Error{Kind: BadValue, Offset: 3, Detail: "detail", Err: cause},
		public(&tbinary.Error{Kind: tbinary.BadValue, Offset: 3, Detail: "detail", Err: cause}),
	} {
		if got, want := err.Error(), "thrift: invalid value at byte 3: detail: cause"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if !errors.Is(err, cause) || !errors.Is(err, &Error{Kind: BadValue}) {
			t.Errorf("%v does not match its cause and its kind", err)
		}
		for _, other := range []*Error{
			{Kind: TooDeep},
			{Kind: BadValue, Offset: 4},
			{Kind: BadValue, Detail: "detail"},
			{Kind: BadValue, Err: cause},
		} {
			if errors.Is(err, other) {
				t.Errorf("%v matches %+v", err, *other)
			}
		}
	}
	if public(cause) != cause || public(nil) != nil {
		t.Error("errors of other code change")
	}
}

// internalIn returns an error of an internal package in err's chain, or nil: nobody outside can
// name its type.
func internalIn(err error) error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if t := reflect.TypeOf(e); t.Kind() == reflect.Pointer && strings.Contains(t.Elem().PkgPath(), "/kiteline/codec/thrift/internal/") {
			return e
		}
	}
	return nil
}

// TestErrorsArePublic checks that no way out of this package passes an internal type of error, and
// that a message which is not read whole is an Error where its length is known.
func TestErrorsArePublic(t *testing.T) {
	check := func(what string, err error) {
		t.Helper()
		if e := internalIn(err); e != nil {
			t.Errorf("%s: %v has a %T", what, err, e)
		}
	}
	c := NewPayloadCodec(Config{})
	whole := messageOf(thrift.REPLY, "Echo", echoReply(nil))
	failure := messageOf(thrift.EXCEPTION, "Echo", append(body{}.field(thrift.STRING, 1, text("no")...), 0))
	unknownType := messageOf(thrift.REPLY, "Echo", body{0x7f, 0, 1, 0})
	messages := [][]byte{unknownType, {0x80, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}}
	for _, m := range [][]byte{whole, failure} {
		for n := range m {
			messages = append(messages, m[:n], append(bytes.Clone(m[:n]), 0xff, 0xff, 0xff, 0xff, 0xff))
		}
		messages = append(messages, append(bytes.Clone(m), 0))
	}
	for _, r := range readers(t) {
		for _, form := range forms {
			for _, m := range messages {
				err := decodeAs(c, remote.Reply, "Echo", form.of(m), r.newReply("Echo"))
				check(r.name+", "+form.name, err)
			}
		}
	}
	point := body{}.field(thrift.I32, 1, 0, 0, 0, 1).field(thrift.I32, 2, 0, 0, 0, 2)
	for n := range point {
		for _, v := range []any{new(types.Point), new(types.TypesMirrorResult)} {
			_, err := Unmarshal(point[:n], v, Limits{})
			check("Unmarshal", err)
			if !errors.As(err, new(*Error)) {
				t.Errorf("Unmarshal of %d bytes: got %v", n, err)
			}
		}
		_, err := Validate(point[:n], Limits{})
		check("Validate", err)
		if !errors.As(err, new(*Error)) {
			t.Errorf("Validate of %d bytes: got %v", n, err)
		}
	}
}

// TestUnknownReaderError checks that the error says what the internal one does.
func TestUnknownReaderError(t *testing.T) {
	inner := &charge.UnknownReaderError{Reader: reflect.TypeFor[another](), Field: "svc"}
	err := public(inner)
	if e := new(UnknownReaderError); !errors.As(err, &e) || e.Reader != inner.Reader || e.Field != "svc" || err.Error() != inner.Error() {
		t.Errorf("got %v", err)
	}
}
