package buffer

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"slices"
	"sync"
	"testing"
)

// tiny makes nodes of one to eight bytes, so that a few bytes of input reach every edge.
func tiny() *tuning {
	return &tuning{readMin: 1, readMax: 8, mallocMin: 2, mallocMax: 8, linkMin: 6, joinMin: 2, trustMax: 4}
}

// held is a slice that must keep its content until the next Release.
type held struct {
	got, want []byte
}

// model is a LinkBuffer and what it must contain.
type model struct {
	t    *testing.T
	buf  *LinkBuffer
	rand byte // next content byte

	readable []byte
	written  []byte // not flushed
	inserted []bool // for each byte of written: it came through WriteDirect
	unfilled []held // from Malloc, filled as late as possible
	seen     []held // from Next, Peek, Until

	feed   int // bytes that the Source still has
	pieces int // most bytes that it gives at once

	readers sync.WaitGroup // goroutines that check Slices
}

func (m *model) content(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		m.rand = m.rand*5 + 37
		p[i] = m.rand ^ byte(i)
	}
	return p
}

// Fill implements Source over the remaining feed.
func (m *model) Fill(b *LinkBuffer, need int) error {
	for b.Len() < need {
		if m.feed == 0 {
			return io.ErrClosedPipe
		}
		least := m.feed%4 - 1
		space := b.Reserve(least)
		if len(space) == 0 || len(space) < least {
			m.t.Fatalf("Reserve(%d) returned %d bytes", least, len(space))
		}
		n := min(len(space), m.feed, m.pieces)
		p := m.content(n)
		copy(space, p)
		b.Commit(n)
		m.feed -= n
		m.readable = append(m.readable, p...)
		if n == 3 { // a read that finds nothing
			b.Reserve(0)
			b.Commit(0)
		}
	}
	return nil
}

// mayRead returns whether n bytes must be readable, including what the Source still has.
func (m *model) mayRead(n int) bool {
	if n <= len(m.readable) {
		return true
	}
	return m.buf.src != nil && len(m.written) == 0 && n <= len(m.readable)+m.feed
}

// read checks the outcome of a reading method and moves the model on.
func (m *model) read(op string, n int, may bool, p []byte, err error) {
	if !may {
		if err == nil {
			m.t.Fatalf("%s(%d) of %d bytes: no error", op, n, len(m.readable))
		}
		return
	}
	if err != nil {
		m.t.Fatalf("%s(%d) of %d bytes: %v", op, n, len(m.readable), err)
	}
	if len(p) != n || cap(p) != n || !bytes.Equal(p, m.readable[:n]) {
		m.t.Fatalf("%s(%d): got %x (cap %d), want %x", op, n, p, cap(p), m.readable[:n])
	}
	if op != "Peek" {
		m.readable = m.readable[n:]
	}
}

func (m *model) hold(p []byte, err error) {
	if err == nil {
		m.seen = append(m.seen, held{p, bytes.Clone(p)})
	}
}

func (m *model) fillMalloced() {
	for _, h := range m.unfilled {
		copy(h.got, h.want)
	}
	m.unfilled = nil
}

// write appends p, which a writing method took, to the model.
func (m *model) write(p []byte) {
	m.written = append(m.written, p...)
	m.inserted = append(m.inserted, make([]bool, len(p))...)
}

// insert is the model of WriteDirect.
func (m *model) insert(p []byte, remain int) {
	at := len(m.written)
	for left := remain; left > 0; {
		at--
		if !m.inserted[at] {
			left--
		}
	}
	m.written = append(m.written[:at:at], append(bytes.Clone(p), m.written[at:]...)...)
	flags := make([]bool, len(p))
	for i := range flags {
		flags[i] = true
	}
	m.inserted = append(m.inserted[:at:at], append(flags, m.inserted[at:]...)...)
}

func (m *model) plain() (n int) {
	for _, in := range m.inserted {
		if !in {
			n++
		}
	}
	return n
}

func (m *model) must(err error) {
	if err != nil {
		m.t.Helper()
		m.t.Fatal(err)
	}
}

// check compares everything that must hold after each step.
func (m *model) check() {
	m.t.Helper()
	if got, want := m.buf.Len(), len(m.readable); got != want {
		m.t.Fatalf("Len: got %d, want %d", got, want)
	}
	if got, want := m.buf.MallocLen(), len(m.written); got != want {
		m.t.Fatalf("MallocLen: got %d, want %d", got, want)
	}
	for _, h := range m.seen {
		if !bytes.Equal(h.got, h.want) {
			m.t.Fatalf("a slice changed before Release: got %x, want %x", h.got, h.want)
		}
	}
	checkChain(m.t, m.buf)
}

// checkChain checks the invariants of the chain's fields.
func checkChain(t *testing.T, b *LinkBuffer) {
	t.Helper()
	total, sawRead := 0, b.read == nil
	var last *block
	for blk := b.head; blk != nil; last, blk = blk, blk.next {
		if blk == b.read {
			sawRead = true
		}
		if blk.kind == kindFree || blk.r < 0 || blk.r > blk.w || blk.w > blk.limit || blk.limit > len(blk.mem) {
			t.Fatalf("block out of shape: %s r=%d w=%d limit=%d len=%d", blk.kind, blk.r, blk.w, blk.limit, len(blk.mem))
		}
		if !sawRead && blk.size() != 0 {
			t.Fatal("bytes in a block before read")
		}
		total += blk.size()
	}
	if last != b.tail || !sawRead {
		t.Fatal("tail is not the last block, or read is not in the chain")
	}
	if total != b.length+b.malloced {
		t.Fatalf("blocks hold %d bytes, want %d+%d", total, b.length, b.malloced)
	}
}

// checkPart reads a Slice to its end, on another goroutine.
func (m *model) checkPart(part Reader, want []byte, seed int64) {
	m.readers.Go(func() {
		random := rand.New(rand.NewSource(seed))
		for len(want) > 0 {
			n := random.Intn(len(want)) + 1
			var p []byte
			var err error
			switch random.Intn(4) {
			case 0:
				p, err = part.Next(n)
			case 1:
				p, err = part.ReadBinary(n)
			case 2:
				var inner Reader
				if inner, err = part.Slice(n); err == nil {
					p, err = inner.ReadBinary(n)
					inner.(io.Closer).Close()
				}
			case 3:
				if p, err = part.Peek(n); err == nil {
					err = part.Skip(n)
				}
			}
			if err != nil || !bytes.Equal(p, want[:n]) {
				m.t.Errorf("Slice: got %x, %v, want %x", p, err, want[:n])
				break
			}
			want = want[n:]
			if n%2 == 0 {
				part.Release()
			}
		}
		part.(io.Closer).Close()
	})
}

// FuzzLinkBuffer runs a program on a LinkBuffer and on plain slices. Each step is a pair of bytes,
// operation and argument.
func FuzzLinkBuffer(f *testing.F) {
	for seed := range int64(64) {
		random := rand.New(rand.NewSource(seed))
		program := make([]byte, 200+random.Intn(400))
		random.Read(program)
		f.Add(program)
	}
	f.Add([]byte{1, 1, 0, 20, 5, 10, 4, 9, 5, 4, 8, 12, 6, 0, 10, 7, 14, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) < 4 {
			return
		}
		m := &model{t: t, buf: &LinkBuffer{}}
		if program[0]%4 != 0 {
			m.buf.tuning = tiny()
		}
		if program[0]%2 != 0 {
			m.feed, m.pieces = 40*int(program[1]), int(program[2])%9+1
			m.buf.Bind(m, nil)
		}
		for program = program[3:]; len(program) >= 2; program = program[2:] {
			m.step(program[0], int(program[1]))
			m.check()
		}
		m.buf.Close()
		if m.buf.head != nil || m.buf.nodes != nil || m.buf.pending != nil {
			t.Fatal("memory held after Close")
		}
		if _, err := m.buf.Malloc(1); !errors.Is(err, ErrClosed) {
			t.Fatalf("Malloc after Close: %v", err)
		}
		m.readers.Wait()
	})
}

func (m *model) step(op byte, arg int) {
	if op%2 == 0 {
		m.stepWrite(op/2%13, arg)
		return
	}
	m.stepRead(op/2%16, arg)
}

func (m *model) stepWrite(op byte, arg int) {
	b := m.buf
	n := arg % 20
	p := m.content(n)
	switch op {
	case 0, 1:
		got, err := b.Malloc(n)
		m.must(err)
		if len(got) != n || cap(got) != n {
			m.t.Fatalf("Malloc(%d): len %d cap %d", n, len(got), cap(got))
		}
		m.unfilled = append(m.unfilled, held{got, p})
		m.write(p)
	case 2:
		_, err := b.WriteBinary(p)
		m.must(err)
		m.write(p)
	case 3:
		_, err := b.WriteString(string(p))
		m.must(err)
		m.write(p)
	case 4:
		m.must(b.WriteByte(byte(arg)))
		m.write([]byte{byte(arg)})
	case 5:
		m.must(b.Link(p))
		m.write(p)
	case 6, 7, 8:
		remain := arg % (m.plain() + 1)
		m.must(b.WriteDirect(p, remain))
		m.insert(p, remain)
	case 9:
		m.fillMalloced()
		keep := arg % (len(m.written) + 1)
		if arg%3 == 0 {
			keep = max(0, len(m.written)-n)
		}
		m.must(b.MallocAck(keep))
		m.written, m.inserted = m.written[:keep], m.inserted[:keep]
	case 10:
		m.append(arg)
	default:
		m.fillMalloced()
		m.must(b.Flush())
		m.readable = append(m.readable, m.written...)
		m.written, m.inserted = nil, nil
	}
}

// append appends a second buffer with a few bytes of each kind.
func (m *model) append(arg int) {
	other := &model{t: m.t, buf: &LinkBuffer{tuning: m.buf.tuning}, rand: m.rand + 1}
	for i := range arg % 7 {
		other.stepWrite(byte(arg/7+3*i)%10, arg+5*i)
		if i == arg%4 {
			other.stepWrite(12, 0)
			other.stepRead(byte(arg%3), arg)
		}
		other.check()
	}
	other.fillMalloced()
	m.must(m.buf.Append(other.buf))
	m.write(other.readable)
	m.write(other.written)
	if other.buf.head != nil || other.buf.Len() != 0 || other.buf.MallocLen() != 0 {
		m.t.Fatal("Append left something behind")
	}
	other.buf.Close()
	other.readers.Wait()
}

func (m *model) stepRead(op byte, arg int) {
	b := m.buf
	n := arg % (len(m.readable) + 4)
	may := m.mayRead(n)
	switch op {
	case 0, 1:
		p, err := b.Next(n)
		m.hold(p, err)
		m.read("Next", n, may, p, err)
	case 2, 3:
		p, err := b.Peek(n)
		m.hold(p, err)
		m.read("Peek", n, may, p, err)
	case 4:
		err := b.Skip(n)
		m.read("Skip", n, may, m.first(n, may), err)
	case 5:
		m.until(byte(arg))
	case 6:
		s, err := b.ReadString(n)
		m.read("ReadString", n, may, slices.Clip([]byte(s)), err)
	case 7:
		p, err := b.ReadBinary(n)
		m.read("ReadBinary", n, may, p, err)
		overwrite(p) // it is ours
	case 8, 9:
		some := arg / 3 % (n + 1)
		if arg%3 == 0 {
			some = n
		}
		if reads := m.mayRead(some); (b.AwaitFrame(n, some) == nil) != reads {
			m.t.Fatalf("AwaitFrame(%d, %d) of %d bytes: got %t", n, some, len(m.readable), !reads)
		}
		if op == 9 && arg%5 == 0 {
			return // and something else follows
		}
		may = m.mayRead(n)
		p, err := b.ReadFrame(n)
		m.read("ReadFrame", n, may, p, err)
		overwrite(p)
	case 10:
		may = m.mayRead(1)
		c, err := b.ReadByte()
		m.read("ReadByte", 1, may, []byte{c}, err)
	case 11, 12:
		part, err := b.Slice(n)
		if err == nil {
			m.seen = nil
			m.checkPart(part, bytes.Clone(m.readable[:n]), int64(arg))
		}
		m.read("Slice", n, may, m.first(n, may), err)
	case 13:
		m.drain(arg)
	default:
		m.seen = nil
		m.must(b.Release())
		if len(m.readable)+len(m.written) == 0 && (b.head != nil || b.nodes != nil) {
			m.t.Fatal("an empty buffer holds memory after Release")
		}
	}
}

func overwrite(p []byte) {
	for i := range p {
		p[i] = 0xFF
	}
}

// first returns the first n readable bytes of the model if there must be that many.
func (m *model) first(n int, may bool) []byte {
	if !may || n > len(m.readable) {
		return nil
	}
	return slices.Clip(bytes.Clone(m.readable[:n]))
}

func (m *model) until(delim byte) {
	p, err := m.buf.Until(delim)
	m.hold(p, nil)
	i := bytes.IndexByte(m.readable, delim)
	want := m.readable[:i+1]
	if i < 0 {
		want = m.readable
	}
	if (err == nil) != (i >= 0) || !bytes.Equal(p, want) {
		m.t.Fatalf("Until: got %x, %v, want %x", p, err, want)
	}
	m.readable = m.readable[len(want):]
}

// drain takes bytes as a Sink does.
func (m *model) drain(arg int) {
	list := m.buf.Gather(nil, arg%5)
	got := bytes.Join(list, nil)
	if len(list) > arg%5 || !bytes.HasPrefix(m.readable, got) || (arg%5 > 0 && len(got) == 0 && len(m.readable) > 0) {
		m.t.Fatalf("Gather: got %x, want a prefix of %x", list, m.readable)
	}
	if first := m.buf.First(); !bytes.HasPrefix(m.readable, first) || (len(first) == 0) != (len(m.readable) == 0) {
		m.t.Fatalf("First: got %x, want a prefix of %x", first, m.readable)
	}
	n := arg % (len(got) + 1)
	if len(m.seen) > 0 {
		m.must(m.buf.Skip(n))
	} else {
		m.buf.Discard(n)
	}
	m.readable = m.readable[n:]
}
