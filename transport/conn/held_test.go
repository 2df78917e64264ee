package conn

import (
	"reflect"

	"github.com/kiteline/kiteline/transport/buffer"
)

// heldBytes returns how much memory the blocks of b have. It looks at fields of another package,
// and panics if they have other names.
func heldBytes(b *buffer.LinkBuffer) int {
	held := 0
	for blk := reflect.ValueOf(b).Elem().FieldByName("head"); !blk.IsNil(); blk = blk.Elem().FieldByName("next") {
		held += blk.Elem().FieldByName("mem").Len()
	}
	return held
}
