package thrift

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
	"github.com/kiteline/kiteline/internal/testkit"
)

// trickle is a connection on which bytes arrive in pieces: as many as were asked for, and some
// more.
type trickle struct {
	remote.ByteBuffer
	all     []byte
	read    int // taken
	arrived int
	more    func() int // bytes beyond those asked for
}

func (b *trickle) ReadableLen() int { return b.arrived - b.read }

func (b *trickle) Peek(n int) ([]byte, error) {
	if b.read+n > b.arrived {
		b.arrived = min(b.read+n+b.more(), len(b.all))
	}
	if b.read+n > b.arrived {
		return nil, io.ErrUnexpectedEOF
	}
	return b.all[b.read : b.read+n], nil
}

func (b *trickle) Skip(n int) error {
	_, err := b.Peek(n)
	if err == nil {
		b.read += n
	}
	return err
}

func (b *trickle) ReadBinary(p []byte) (int, error) {
	next, err := b.Peek(len(p))
	if err != nil {
		return 0, err
	}
	b.read += len(p)
	return copy(p, next), nil
}

// TestTakeStruct takes structs that arrive in pieces of any size: no byte too many, and into memory
// of their size.
func TestTakeStruct(t *testing.T) {
	limits := tbinary.DefaultLimits()
	var s tbinary.Scanner
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 6))
		v := random(newValues["Everything"], seed, 3).(*types.Everything)
		if seed%10 == 0 {
			v.Blob = make([]byte, 3<<20)
		}
		want := thrift.FastMarshal(v)
		most := 1 << r.IntN(18)
		in := &trickle{all: append(append([]byte(nil), want...), 1, 2, 3), more: func() int { return r.IntN(most) }}
		s.Reset(&limits, 0, limits.MaxFrame)
		got, err := takeStruct(in, &s)
		if err != nil || !bytes.Equal(got, want) || in.read != len(want) {
			t.Fatalf("seed %d: got %d bytes, took %d of %d: %v", seed, len(got), in.read, len(want), err)
		}
		if cap(got) > len(got)+len(got)/8 {
			t.Errorf("seed %d: %d bytes in memory of %d", seed, len(got), cap(got))
		}
		clear(in.all)
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d: the struct is part of the buffer", seed)
		}
	}
}

// TestTakeStructOnce checks that a struct whose length shows bit by bit is copied once or twice,
// not with every piece that comes.
func TestTakeStructOnce(t *testing.T) {
	const n = 4 << 20
	limits := tbinary.DefaultLimits()
	strings := bytes.Repeat(append(binary.BigEndian.AppendUint32(nil, 70<<10), make([]byte, 70<<10)...), 60)
	for name, b := range map[string]body{
		"structs": append(body{}.field(thrift.LIST, 99, announce(thrift.STRUCT, n)...), make([]byte, n)...),
		"fields":  bytes.Repeat(body{}.field(thrift.I64, 1, make([]byte, 8)...), n/11),
		"strings": append(body{}.field(thrift.LIST, 99, announce(thrift.STRING, 60)...), strings...),
	} {
		b = append(b, 0)
		var s tbinary.Scanner
		limit := 5*len(b)/2 + trustBytes
		took, ok := allocates(limit, func() {
			in := &trickle{all: b, more: func() int { return chunkBytes }}
			s.Reset(&limits, 0, limits.MaxFrame)
			if got, err := takeStruct(in, &s); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%s: got %d bytes of %d: %v", name, len(got), len(b), err)
			}
		})
		if !ok {
			t.Errorf("%s: took %d bytes for %d, want at most %d", name, took, len(b), limit)
		}
	}
}

// TestTakeFrame takes frames from a buffer without a ReadFrame of its own.
func TestTakeFrame(t *testing.T) {
	for _, n := range []int{0, 1, 100, smallFrame, smallFrame + 1, trustBytes, trustBytes + 1, 5 << 20} {
		want := bytes.Repeat([]byte{7}, n)
		in := &trickle{all: append(append([]byte(nil), want...), 1), more: func() int { return 0 }}
		got, err := takeFrame(in, n)
		if err != nil || !bytes.Equal(got, want) || in.read != n {
			t.Fatalf("%d bytes: got %d, took %d: %v", n, len(got), in.read, err)
		}
		if cap(got) != n {
			t.Errorf("%d bytes: capacity %d", n, cap(got))
		}
	}
}

// TestLargeFrameTakesLittle checks that a large frame takes its own memory, and that of the third
// of it that is copied once.
func TestLargeFrameTakesLittle(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	const n = 16 << 20
	in := &trickle{all: make([]byte, n), more: func() int { return 0 }}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := takeFrame(in, n)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err != nil || took > n+n/3+1<<20 {
		t.Errorf("took %d bytes for %d: %v", took, n, err)
	}
}

// TestFrameThatDoesNotCome checks that a frame that is only announced takes little memory.
func TestFrameThatDoesNotCome(t *testing.T) {
	for _, arrived := range []int{10, startBytes, 100 << 10} {
		var before, after runtime.MemStats
		const times = 20
		runtime.ReadMemStats(&before)
		for range times {
			in := &trickle{all: make([]byte, arrived), more: func() int { return 0 }}
			if _, err := takeFrame(in, 16_000_000); err == nil {
				t.Fatal("got no error")
			}
		}
		runtime.ReadMemStats(&after)
		bound := int64(2*arrived + 4<<10)
		if arrived >= startBytes {
			bound += trustBytes
		}
		if got := int64(after.TotalAlloc-before.TotalAlloc) / times; got > bound {
			t.Errorf("%d bytes came: took %d, want at most %d", arrived, got, bound)
		}
	}
}

// TestStructThatDoesNotCome checks that a struct of which only the start comes takes little memory,
// whatever the start announces.
func TestStructThatDoesNotCome(t *testing.T) {
	limits := tbinary.DefaultLimits()
	for _, arrived := range []int{10, startBytes, 100 << 10} {
		for _, announced := range []int{1_000_000, 16_000_000} {
			start := append([]byte{11, 0, 1}, binary.BigEndian.AppendUint32(nil, uint32(announced))...)
			var before, after runtime.MemStats
			const times = 20
			var s tbinary.Scanner
			runtime.ReadMemStats(&before)
			for range times {
				in := &trickle{all: append(start, make([]byte, arrived)...), arrived: len(start) + arrived, more: func() int { return 0 }}
				s.Reset(&limits, 0, limits.MaxFrame)
				if _, err := takeStruct(in, &s); err == nil {
					t.Fatal("got no error")
				}
			}
			runtime.ReadMemStats(&after)
			bound := int64(6*arrived + 4*startBytes)
			if arrived >= startBytes {
				bound += trustBytes
			}
			if got := int64(after.TotalAlloc-before.TotalAlloc) / times; got > bound {
				t.Errorf("%d bytes of %d came: took %d, want at most %d", arrived, announced, got, bound)
			}
		}
	}
}
