package compiled

import (
	"strconv"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
)

// fail sets err.
func (d *decoder) fail(k binary.Kind, pos int, detail string) int {
	d.err = binary.NewError(k, pos, detail)
	return failed
}

// lengthFailed sets err to what is wrong with the length at pos.
func (d *decoder) lengthFailed(pos int) int {
	_, _, d.err = binary.Length(d.frame, pos, d.limits)
	return failed
}

// headerFailed sets err for a field with an incomplete header or no byte of value.
func (d *decoder) headerFailed(t binary.Type, pos int) int {
	if t.MinSize() == 0 {
		return d.fail(binary.BadType, pos, t.String())
	}
	return d.fail(binary.Truncated, pos, "")
}

// missing sets err to the missing required field of the struct that ends at pos.
func (d *decoder) missing(s *Struct, seen uint64, pos int) int {
	for i := range s.fields {
		if f := &s.fields[i]; f.required&^seen != 0 {
			return d.fail(binary.MissingRequired, pos, s.goType.String()+"."+f.name+", field "+strconv.Itoa(int(f.id)))
		}
	}
	panic("compiled: BUG: no required field is missing")
}
