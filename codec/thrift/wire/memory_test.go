package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestMemoryReads(t *testing.T) {
	const message = "0123456789abcdef"
	m := newMemory([]byte(message))
	defer m.recycle()
	if p, err := m.Peek(4); err != nil || string(p) != "0123" || cap(p) != 4 {
		t.Errorf("Peek: got %q, %v", p, err)
	}
	if p, err := m.Next(2); err != nil || string(p) != "01" {
		t.Errorf("Next: got %q, %v", p, err)
	}
	if err := m.Skip(1); err != nil {
		t.Errorf("Skip: got %v", err)
	}
	if s, err := m.ReadString(2); err != nil || s != "34" {
		t.Errorf("ReadString: got %q, %v", s, err)
	}
	p := make([]byte, 3)
	if n, err := m.ReadBinary(p); n != 3 || err != nil || string(p) != "567" {
		t.Errorf("ReadBinary: got %q, %v", p[:n], err)
	}
	frame, err := m.ReadFrame(4)
	if err != nil || string(frame) != "89ab" || cap(frame) != 4 || m.ReadLen() != 12 || m.ReadableLen() != 4 {
		t.Errorf("ReadFrame: got %q, %v; read %d, left %d", frame, err, m.ReadLen(), m.ReadableLen())
	}
	m.in[8] = 'x'
	if frame[0] != '8' {
		t.Error("a frame is a part of the message")
	}
	for what, read := range map[string]func() error{
		"Next":       func() error { _, err := m.Next(5); return err },
		"Peek":       func() error { _, err := m.Peek(5); return err },
		"Skip":       func() error { return m.Skip(5) },
		"ReadString": func() error { _, err := m.ReadString(5); return err },
		"ReadBinary": func() error { _, err := m.ReadBinary(make([]byte, 5)); return err },
		"ReadFrame":  func() error { _, err := m.ReadFrame(5); return err },
	} {
		if err := read(); !errors.Is(err, io.ErrUnexpectedEOF) || m.ReadableLen() != 4 {
			t.Errorf("%s of too much: got %v, left %d", what, err, m.ReadableLen())
		}
	}
	if _, err := m.Next(-1); err == nil {
		t.Error("Next of less than nothing: no error")
	}
	if rest, err := io.ReadAll(m); err != nil || string(rest) != "cdef" {
		t.Errorf("Read: got %q, %v", rest, err)
	}
	if _, err := m.Next(1); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: got %v", err)
	}
}

func TestMemoryWrites(t *testing.T) {
	m := newMemory(nil)
	defer m.recycle()
	long := strings.Repeat("long", 5000)
	p, err := m.Malloc(6)
	copy(p, "headXX")
	if err := errors.Join(err, m.MallocAck(4)); err != nil {
		t.Fatal(err)
	}
	_, err1 := m.Write([]byte("-write"))
	_, err2 := m.WriteString("-" + long)
	_, err3 := m.WriteBinary([]byte("-binary"))
	err4 := m.Link([]byte("-link"))
	tail, err5 := m.Malloc(5)
	copy(tail, "-tail")
	err6 := m.WriteDirect([]byte("-direct"), 5)
	other := m.NewBuffer()
	_, err7 := other.WriteString("-other")
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, m.AppendBuffer(other), m.Flush()); err != nil {
		t.Fatal(err)
	}
	want := "head-write-" + long + "-binary-link-direct-tail-other"
	if m.WrittenLen() != len(want) {
		t.Errorf("WrittenLen: got %d, want %d", m.WrittenLen(), len(want))
	}
	got, err := m.Bytes()
	if err != nil || string(got) != want {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
	if err := m.AppendBuffer(foreign{}); err == nil {
		t.Error("append of another's buffer: no error")
	}
}

type foreign struct{ *memory }

// TestMemoryIsReused checks that nothing of one message is in the next.
func TestMemoryIsReused(t *testing.T) {
	for range 10 {
		m := newMemory([]byte("in"))
		if _, err := m.Next(1); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Bytes(); err != nil || len(got) != 0 || m.WrittenLen() != 0 {
			t.Fatalf("got %q, %v", got, err)
		}
		_, _ = m.Write(bytes.Repeat([]byte("x"), 10_000))
		if _, err := m.Bytes(); err != nil {
			t.Fatal(err)
		}
		_, _ = m.Write([]byte("not submitted"))
		m.recycle()
	}
}
