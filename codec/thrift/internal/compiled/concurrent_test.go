package compiled

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
)

// TestConcurrentUse lets many goroutines at a time compile types, and decode and encode values of
// them.
func TestConcurrentUse(t *testing.T) {
	messages := make([][]byte, len(types))
	for i, newValue := range types {
		messages[i] = thrift.FastMarshal(random(newValue, 3, 1))
	}
	plans.Forget(nil)
	for worker := range 8 {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			for i := range types {
				i = (i + worker*len(types)/8) % len(types)
				got, want := types[i](), types[i]()
				_, wantErr := want.FastRead(bytes.Clone(messages[i]))
				_, err := planOf(t, got).Decode(messages[i], got, nil)
				if (err == nil) != (wantErr == nil) || err == nil && !same(got, want) {
					t.Errorf("%T: got %v, %v, want %v, %v", got, got, err, want, wantErr)
				}
				if err == nil && !refusedUnion(got) && len(encode(t, got)) != want.BLength() {
					t.Errorf("%T: written otherwise", got)
				}
			}
		})
	}
}
