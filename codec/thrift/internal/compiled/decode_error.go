package compiled

import (
	"strconv"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// fail sets err.
func (d *decoder) fail(k tbinary.Kind, pos int, detail string) int {
	d.err = tbinary.NewError(k, pos, detail)
	return failed
}

// lengthFailed sets err to what is wrong with the length at pos.
func (d *decoder) lengthFailed(pos int) int {
	_, _, d.err = tbinary.Length(d.frame, pos, d.limits)
	return failed
}

// headerFailed sets err for a field with an incomplete header or no byte of value.
func (d *decoder) headerFailed(t tbinary.Type, pos int) int {
	if t.MinSize() == 0 {
		return d.fail(tbinary.BadType, pos, t.String())
	}
	return d.fail(tbinary.Truncated, pos, "")
}

// missing sets err to the missing required field of the struct that ends at pos.
func (d *decoder) missing(s *Struct, seen uint64, pos int) int {
	for i := range s.fields {
		if f := &s.fields[i]; f.required&^seen != 0 {
			return d.fail(tbinary.MissingRequired, pos, s.goType.String()+"."+f.name+", field "+strconv.Itoa(int(f.id)))
		}
	}
	panic("compiled: BUG: no required field is missing")
}
