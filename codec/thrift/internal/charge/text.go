package charge

import (
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"reflect"
	"unicode/utf8"

	"github.com/cloudwego/kitex/pkg/generic/descriptor"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// Lengths of the JSON of a message's parts, in bytes.
const (
	bracketText  = 2
	commaText    = 1
	pairText     = 4  // quotes of a key that is not a string, colon and comma
	maxEmptyText = 5  // false, as a missing value
	doubleText   = 24 // a float, at most
	escapeText   = 6  // \u0000
)

func nameText(f *descriptor.FieldDescriptor) int { return len(f.FieldName()) + pairText }

// numberText returns the length of the number at the start of b as text.
func numberText(t tbinary.Type, b []byte) int {
	var v int64
	switch t {
	case tbinary.Byte:
		v = int64(int8(b[0]))
	case tbinary.I16:
		v = int64(int16(binary.BigEndian.Uint16(b)))
	case tbinary.I32:
		v = int64(int32(binary.BigEndian.Uint32(b)))
	case tbinary.I64:
		v = int64(binary.BigEndian.Uint64(b))
	case tbinary.Bool:
		return maxEmptyText
	default:
		return doubleText
	}
	if v < 0 {
		return 1 + digits(uint64(-v))
	}
	return digits(uint64(v))
}

// decimalText returns the greatest length of a double with these bits as text without an exponent:
// 0.000… for the smallest, and 309 digits for the largest.
func decimalText(b uint64) int {
	exponent := int(b>>doubleMantissaBits&doubleExponentMask) - doubleExponentBias
	return max(exponent, -exponent)*3/10 + max(exponent, -exponent)/500 + doubleText
}

// The parts of a double.
const (
	doubleMantissaBits = 52
	doubleExponentMask = 0x7ff
	doubleExponentBias = 1023
)

// digits returns the number of digits of v, or one more.
func digits(v uint64) int { return bits.Len64(v)*3/10 + 1 }

// stringText returns the length of a string or binary as text.
func stringText(d *descriptor.TypeDescriptor, b []byte) int {
	encoded := base64.StdEncoding.EncodedLen(len(b)) + 2
	if d != nil && d.Name == "binary" {
		return max(encoded, escaped(b))
	}
	return escaped(b)
}

// escaped returns the greatest length of b as a JSON string.
func escaped(b []byte) int {
	n := 2
	for len(b) > 0 {
		switch c := b[0]; {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(b)
			if n += size; r == utf8.RuneError || r == '\u2028' || r == '\u2029' {
				n += escapeText
			}
			b = b[size:]
			continue
		case c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0x7f:
			n += escapeText
		default:
			n++
		}
		b = b[1:]
	}
	return n
}

// valueText returns the length of a default as text.
func valueText(v any) int {
	switch v := v.(type) {
	case string:
		return escaped([]byte(v))
	case []byte:
		return escaped(v)
	case nil:
		return maxEmptyText
	}
	n := doubleText
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Slice:
		for i := range r.Len() {
			n += commaText + valueText(r.Index(i).Interface())
		}
	case reflect.Map:
		for pairs := r.MapRange(); pairs.Next(); {
			n += pairText + valueText(pairs.Key().Interface()) + valueText(pairs.Value().Interface())
		}
	}
	return n
}
