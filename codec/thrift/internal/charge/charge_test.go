package charge

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/bufiox"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/generic/descriptor"
	genericthrift "github.com/cloudwego/kitex/pkg/generic/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// TestFields checks that a field is read only under its own name and type.
func TestFields(t *testing.T) {
	v := &struct {
		svc  string
		flag bool
	}{"service", true}
	for _, tc := range []struct {
		name string
		read func(f *fields)
		want string // the reported field
	}{
		{"as expected", func(f *fields) {
			if get[string](f, "svc") != "service" || !get[bool](f, "flag") {
				t.Error("got other values")
			}
		}, ""},
		{"missing", func(f *fields) { get[string](f, "service") }, "service"},
		{"of another type", func(f *fields) { get[int](f, "svc"); get[bool](f, "none") }, "svc"},
	} {
		f := fields{of: v}
		tc.read(&f)
		var e *UnknownReaderError
		if errors.As(f.err, &e) != (tc.want != "") || e != nil && (e.Field != tc.want || !strings.Contains(e.Error(), tc.want)) {
			t.Errorf("%s: got %v", tc.name, f.err)
		}
	}
	f := fields{of: (*genericthrift.ReadJSON)(nil)}
	if get[bool](&f, "dynamicgoEnabled") || f.err == nil {
		t.Error("a field of nothing was read")
	}
}

// newKitex and ours are readers that this package does not know. newKitex looks like one of a later
// Kitex.
type (
	newKitex = genericthrift.ReadJSON
	ours     struct{}
)

func (*ours) Read(context.Context, string, bool, int, bufiox.Reader) (any, error) { return nil, nil }

// TestUnknownReader checks that an unknown reader of Kitex's is reported, and that one of the
// program's own is charged as the costliest.
func TestUnknownReader(t *testing.T) {
	args := new(generic.Args)
	args.SetCodec(new(newKitex))
	var e *UnknownReaderError
	if _, err := Generic(args, "Echo", 100); !errors.As(err, &e) || e.Reader != reflect.TypeFor[*newKitex]() {
		t.Errorf("got %v", err)
	}
	args.SetCodec(new(ours))
	if r, err := Generic(args, "Echo", 100); err != nil || r.Costs != &Any {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := Generic(&struct{ other any }{}, "Echo", 100); !errors.As(err, &e) || e.Field != "inner" {
		t.Errorf("got %v", err)
	}
}

// TestTyped checks that types in exported fields are charged, and types in unexported fields are
// not.
func TestTyped(t *testing.T) {
	type large struct{ Bytes [4096]byte }
	type embedded struct{ Large []large }
	type service struct {
		Client *large
		All    []large
	}
	const size = 4096
	for _, tc := range []struct {
		name            string
		of              reflect.Type
		structs, others bool
	}{
		{"unexported", reflect.TypeFor[struct {
			Text    string
			service *service
		}](), false, false},
		{"exported", reflect.TypeFor[struct{ Large *large }](), true, false},
		{"embedded", reflect.TypeFor[struct{ embedded }](), true, true},
	} {
		c := Typed(tc.of)
		if (c.Struct >= size) != tc.structs || (c.Element >= size) != tc.others {
			t.Errorf("%s: got %+v", tc.name, c)
		}
		if c.Struct <= 0 || c.Element <= 0 || c.Pair <= 0 {
			t.Errorf("%s: something costs nothing: %+v", tc.name, c)
		}
	}
}

// TestDecimalText checks that no double is longer as text than it is charged.
func TestDecimalText(t *testing.T) {
	for sign := range uint64(2) {
		for exponent := range uint64(doubleExponentMask) {
			for _, mantissa := range []uint64{0, 1, 0x5555555555555, 0xfffffffffffff} {
				b := sign<<63 | exponent<<doubleMantissaBits | mantissa
				if n := len(strconv.FormatFloat(math.Float64frombits(b), 'f', -1, 64)); n > decimalText(b) {
					t.Fatalf("%x: %d digits, charged %d", b, n, decimalText(b))
				}
			}
		}
	}
}

// TestStructWithoutFields checks that a field is refused in a struct that is declared without any
// fields.
func TestStructWithoutFields(t *testing.T) {
	l := tbinary.DefaultLimits()
	r := Reader{Costs: &Maps, Declared: &descriptor.TypeDescriptor{Type: descriptor.STRUCT}}
	if n, err := r.Walk([]byte{0}, &l); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := r.Walk([]byte{byte(tbinary.Bool), 0, 1, 1, 0}, &l); !isKind(err, tbinary.BadType) {
		t.Errorf("got %v", err)
	}
}

func isKind(err error, kind tbinary.Kind) bool {
	var e *tbinary.Error
	return errors.As(err, &e) && e.Kind == kind
}
