package schema

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Requiredness is what the IDL says about the presence of a field.
type Requiredness uint8

// The values of Requiredness.
const (
	Default  Requiredness = iota + 1 // always written, read if it is there
	Required                         // always written, an error if it is not there
	Optional                         // written if it is set
)

// String returns the word that tags use.
func (r Requiredness) String() string {
	return [...]string{"requiredness unknown", Default: "default", Required: "required", Optional: "optional"}[r]
}

// fieldTag is the content of a field's tag.
type fieldTag struct {
	id           int16
	requiredness Requiredness
	typ          *tagType // nil: the Go type decides
}

// tagType is a type in a tag.
type tagType struct {
	name      string   // "i32", "list", the name of a struct or an enum
	key, elem *tagType // of a container
}

var errNoTag = errors.New("no frugal or thrift tag")

// tagOf returns the tag of a field, in either dialect.
func tagOf(tag reflect.StructTag) (fieldTag, error) {
	if text, ok := tag.Lookup("frugal"); ok {
		return parseFrugal(text)
	}
	if text, ok := tag.Lookup("thrift"); ok {
		return parseThrift(text)
	}
	return fieldTag{}, errNoTag
}

// parseFrugal reads a tag like "1,required,list<string>". More parts may follow that tell Frugal
// how to read the value.
func parseFrugal(tag string) (fieldTag, error) {
	parts := strings.SplitN(tag, ",", 4)
	if len(parts) < 3 {
		return fieldTag{}, fmt.Errorf("tag %q is not the generator's", tag)
	}
	return parseParts(tag, parts[:3])
}

// parseThrift reads a tag like "names,1", "names,1,required" or "names,1,default,list<string>".
func parseThrift(tag string) (fieldTag, error) {
	parts := strings.SplitN(tag, ",", 4)
	if len(parts) < 2 {
		return fieldTag{}, fmt.Errorf("tag %q is not the generator's", tag)
	}
	return parseParts(tag, parts[1:])
}

// parseParts reads an ID, a requiredness and a type. Only the ID must be there.
func parseParts(tag string, parts []string) (f fieldTag, err error) {
	id, err := strconv.ParseInt(parts[0], 10, 16)
	if err != nil {
		return f, fmt.Errorf("tag %q: %w", tag, err)
	}
	f = fieldTag{id: int16(id), requiredness: Default}
	if len(parts) > 1 {
		switch parts[1] {
		case "default":
		case "required":
			f.requiredness = Required
		case "optional":
			f.requiredness = Optional
		default:
			return f, fmt.Errorf("tag %q: requiredness unknown", tag)
		}
	}
	if len(parts) > 2 {
		var rest string
		if f.typ, rest, err = parseType(parts[2]); err == nil && rest != "" {
			err = fmt.Errorf("%q behind the type", rest)
		}
		if err != nil {
			return f, fmt.Errorf("tag %q: %w", tag, err)
		}
	}
	return f, nil
}

// parseType reads a type, and returns the rest of s.
func parseType(s string) (t *tagType, rest string, err error) {
	end := strings.IndexAny(s, "<>:")
	if end < 0 {
		end = len(s)
	}
	t, rest = &tagType{name: s[:end]}, s[end:]
	isMap := t.name == "map"
	switch {
	case t.name == "":
		return nil, "", errors.New("a type is missing")
	case !isMap && t.name != "list" && t.name != "set":
		return t, rest, nil
	}
	if rest, err = expect(rest, "<"); err != nil {
		return nil, "", err
	}
	if isMap {
		if t.key, rest, err = parseType(rest); err != nil {
			return nil, "", err
		}
		if rest, err = expect(rest, ":"); err != nil {
			return nil, "", err
		}
	}
	if t.elem, rest, err = parseType(rest); err != nil {
		return nil, "", err
	}
	rest, err = expect(rest, ">")
	return t, rest, err
}

func expect(s, prefix string) (string, error) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return "", fmt.Errorf("%q is missing before %q", prefix, s)
	}
	return rest, nil
}

// isReserved reports whether the name is Thrift's own, so that no struct or enum can have it.
func (t *tagType) isReserved() bool {
	switch t.name {
	case "bool", "byte", "i8", "i16", "i32", "i64", "double", "string", "binary", "uuid", "list", "set", "map", "void":
		return true
	}
	return false
}

// parts returns the types of a container's keys and elements, nil if the tag does not give them.
func (t *tagType) parts() (key, elem *tagType) {
	if t == nil {
		return nil, nil
	}
	return t.key, t.elem
}

func (t *tagType) mismatch(goType reflect.Type) error {
	if t == nil {
		return fmt.Errorf("type %v is none of Thrift's", goType)
	}
	return fmt.Errorf("type %v for a %s", goType, t.name)
}
