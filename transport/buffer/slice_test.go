package buffer

import (
	"bytes"
	"io"
	"runtime"
	"sync"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestSliceForever: a caller that only ever calls Slice, and closes what it gets.
func TestSliceForever(t *testing.T) {
	for _, n := range []int{1, 974, 1023, 1024, 1025, 4046, 4096, 4100, 70000} {
		var b LinkBuffer
		closeAtEnd(t, &b)
		b.Bind(&endlessSource{most: 64 << 10}, nil)
		most := 0
		for range 2000 {
			part, err := b.Slice(n)
			testkit.Must(t, err)
			part.Skip(n)
			part.Release()
			holdsNothing(t, part.(*LinkBuffer))
			most = max(most, memory(&b))
		}
		if most > 4*readMax+n {
			t.Errorf("Slice(%d): the buffer held %d bytes", n, most)
		}
	}
}

// TestSliceOutlivesParent reads and closes Slices on other goroutines.
func TestSliceOutlivesParent(t *testing.T) {
	var b LinkBuffer
	data := numbered(200 << 10)
	b.Bind(&pieceSource{data: data, piece: 3000, err: io.EOF}, nil)
	var readers sync.WaitGroup
	for at := 0; at < len(data); {
		n := min(700+at%5000, len(data)-at)
		part, err := b.Slice(n)
		testkit.Must(t, err)
		want := data[at : at+n]
		at += n
		readers.Go(func() {
			runtime.Gosched()
			if p, err := part.Next(n); err != nil || !bytes.Equal(p, want) {
				t.Errorf("got %v, or other bytes", err)
			}
			part.(io.Closer).Close()
		})
	}
	b.Close()
	readers.Wait()
}
