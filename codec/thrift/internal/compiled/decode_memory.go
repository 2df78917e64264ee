package compiled

import (
	"strconv"

	"github.com/kiteline/kiteline/codec/thrift/internal/shape"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// Until a message is known to be well-formed to its end, its values may take uncheckedRatio times
// its bytes, and uncheckedBytes. With copies of strings, and with what the allocator adds, that is
// less than four times its bytes and 64 KiB. Most messages never take that much, and are read in
// one pass.
const (
	uncheckedRatio = 2
	uncheckedBytes = 32 << 10
)

// take accounts for size bytes of memory for the value at pos. It reports whether they may be
// allocated; if not it sets err.
func (d *decoder) take(size int64, pos int) bool {
	if d.memory -= size; d.memory >= 0 {
		return true
	}
	return d.takeSlow(size, pos)
}

// takeSlow checks the frame to its end, once, before values take more than an unchecked message
// may.
func (d *decoder) takeSlow(size int64, pos int) bool {
	if d.checked {
		d.fail(tbinary.TooLarge, pos, "value of "+strconv.FormatInt(size, 10)+" bytes in memory, more than is left of what the message may take")
		return false
	}
	d.checked = true
	n, err := (*shape.Struct)(d.root.declared).ValidateForPlan(d.frame, d.limits)
	if err == nil && d.whole && n != len(d.frame) {
		err = errTrailing(n, len(d.frame))
	}
	if err != nil {
		d.err = err
		return false
	}
	trusted := min(uncheckedRatio*int64(len(d.frame))+uncheckedBytes, int64(d.limits.MaxElementBytes))
	if d.memory += int64(d.limits.MaxElementBytes) - trusted; d.memory < 0 {
		panic("compiled: BUG: a message that was checked takes more memory than it may")
	}
	return true
}

// keep appends the unknown field from pos to next to those that a struct keeps. Their memory
// doubles, but does not exceed what the frame can still bring.
func (d *decoder) keep(kept *[]byte, pos, next int) {
	if need := len(*kept) + next - pos; need > cap(*kept) {
		room := min(max(need, 2*cap(*kept)), len(*kept)+len(d.frame)-pos)
		grown := make([]byte, len(*kept), room)
		copy(grown, *kept)
		*kept = grown
	}
	*kept = append(*kept, d.frame[pos:next]...)
}

func errTrailing(n, size int) error {
	return tbinary.NewError(tbinary.TrailingBytes, n, strconv.Itoa(size-n)+" bytes")
}
