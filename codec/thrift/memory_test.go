package thrift

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
)

// contents is the memory of a value that could be shared.
type contents struct {
	binaries []reflect.Value // slices of bytes
	texts    []string
	copies   []string // of texts, in memory of their own
}

func (c *contents) collect(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		c.texts = append(c.texts, v.String())
		c.copies = append(c.copies, strings.Clone(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			c.collect(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			c.collect(v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			c.binaries = append(c.binaries, v)
			return
		}
		for i := range v.Len() {
			c.collect(v.Index(i))
		}
	case reflect.Map:
		for pairs := v.MapRange(); pairs.Next(); {
			c.collect(pairs.Key())
			c.collect(pairs.Value())
		}
	}
}

// TestBinariesAreTheReaders writes to and appends to each binary of a value, as a handler may:
// nothing else of the value changes, although all of it may be parts of one frame.
func TestBinariesAreTheReaders(t *testing.T) {
	binaries := 0
	for name, newValue := range newValues {
		for seed := range uint64(40) {
			v := newValue()
			if _, err := Unmarshal(thrift.FastMarshal(random(newValue, seed, 3)), v, Limits{}); err != nil {
				t.Fatal(err)
			}
			var c contents
			c.collect(reflect.ValueOf(v))
			for i, b := range c.binaries {
				binaries++
				p := b.Bytes()
				for j := range p {
					p[j] = byte(i)
				}
				_ = append(p, "written behind the end"...)
				if cap(p) != len(p) {
					t.Errorf("%s, seed %d: binary of %d bytes has room for %d", name, seed, len(p), cap(p))
				}
			}
			for i, b := range c.binaries {
				if p := b.Bytes(); strings.Trim(string(p), string([]byte{byte(i)})) != "" {
					t.Fatalf("%s, seed %d: binary %d was written to by another", name, seed, i)
				}
			}
			for i := range c.texts {
				if c.texts[i] != c.copies[i] {
					t.Fatalf("%s, seed %d: string %q was %q", name, seed, c.texts[i], c.copies[i])
				}
			}
		}
	}
	if binaries < 100 {
		t.Errorf("only %d binaries were looked at", binaries)
	}
}
