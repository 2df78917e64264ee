package compiled

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// requiredness is what the IDL says about the presence of a field.
type requiredness uint8

// The values of requiredness.
const (
	byDefault requiredness = iota + 1 // written always, read if it is there
	required                          // written always, missed if it is not there
	optional                          // written if it is set
)

// String returns the word that tags have.
func (r requiredness) String() string {
	return [...]string{byDefault: "default", required: "required", optional: "optional"}[r]
}

// fieldTag is the content of a frugal tag: "1,required,list<string>".
type fieldTag struct {
	id           int16
	requiredness requiredness
	typ          *tagType
}

// tagType is a type as a tag has it.
type tagType struct {
	name      string   // "i32", "list", the name of a struct or an enum
	key, elem *tagType // of a container
}

func parseTag(tag string) (fieldTag, error) {
	parts := strings.SplitN(tag, ",", 3)
	if len(parts) < 3 {
		return fieldTag{}, errors.New("no frugal tag")
	}
	id, err := strconv.ParseInt(parts[0], 10, 16)
	if err != nil {
		return fieldTag{}, fmt.Errorf("tag %q: %w", tag, err)
	}
	f := fieldTag{id: int16(id)}
	switch parts[1] {
	case "default":
		f.requiredness = byDefault
	case "required":
		f.requiredness = required
	case "optional":
		f.requiredness = optional
	default:
		return fieldTag{}, fmt.Errorf("tag %q: requiredness unknown", tag)
	}
	var rest string
	if f.typ, rest, err = parseType(parts[2]); err == nil && rest != "" {
		err = fmt.Errorf("%q behind the type", rest)
	}
	if err != nil {
		return fieldTag{}, fmt.Errorf("tag %q: %w", tag, err)
	}
	return f, nil
}

// parseType reads a type, and returns what comes behind it.
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

// isReserved reports whether the name is Thrift's own, so that neither a struct nor an enum has it.
func (t *tagType) isReserved() bool {
	switch t.name {
	case "bool", "byte", "i8", "i16", "i32", "i64", "double", "string", "binary", "uuid", "list", "set", "map", "void":
		return true
	}
	return false
}
