package compiled

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	byvalue "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/byvalue/variants"
	frugalstruct "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/frugalstruct/variants"
	keep "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/keep/variants"
	thrifttags "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/thrifttags/variants"
)

// TestVerdictIsTheSame compiles types whose default maps have several pairs many times: their order
// of writing varies by chance, which must not matter.
func TestVerdictIsTheSame(t *testing.T) {
	for _, v := range []any{&byvalue.Many{}, &keep.Many{}, &thrifttags.Many{}} {
		for i := range 50 {
			if err := compileAlone(v); err != nil {
				t.Fatalf("%T, time %d: %v", v, i, err)
			}
		}
	}
}

// compileAlone compiles v's type with a cache of its own.
func compileAlone(v any) error {
	c, t := new(cache), reflect.TypeOf(v).Elem()
	declared, err := schema.Of(t)
	if err != nil {
		return err
	}
	_, err = c.Of(t, func() { compile(c, declared) })
	return err
}

// TestFrugalStructs refuses types whose methods call Frugal if that writes other bytes than Kitex's
// generated code.
func TestFrugalStructs(t *testing.T) {
	for v, want := range map[any]string{
		&frugalstruct.Absent{}:  "generated code writes",
		&frugalstruct.Leaf{}:    "generated code writes", // in the order of the IDs
		&frugalstruct.Node{}:    "generated code",
		&frugalstruct.Numbers{}: "",
	} {
		err := compileAlone(v)
		if fmt.Sprint(err) == "" || want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%T: got %v, want an error with %q", v, err, want)
		}
	}
}
