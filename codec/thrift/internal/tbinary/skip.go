package tbinary

// Skip returns how many bytes the value of type t at the start of b takes. At most depth structs
// and containers may be inside one another.
func Skip(b []byte, t Type, depth int, l *Limits) (n int, err error) {
	return SkipAt(b, 0, t, depth, l)
}

// SkipStruct is Skip for a struct.
func SkipStruct(b []byte, depth int, l *Limits) (n int, err error) {
	return skipStruct(b, 0, depth, l)
}

// SkipAt is Skip for the value at offset off of b: it returns the offset after the value, and the
// offsets of errors count from the start of b.
func SkipAt(b []byte, off int, t Type, depth int, l *Limits) (next int, err error) {
	if size := int(fixedSizes[t]); size > 0 {
		if len(b)-off < size {
			return off, truncated(off)
		}
		return off + size, nil
	}
	switch t {
	case String:
		n, next, err := Length(b, off, l)
		return next + n, err
	case Struct:
		return skipStruct(b, off, depth, l)
	case List, Set:
		return skipList(b, off, depth, l)
	case Map:
		return skipMap(b, off, depth, l)
	}
	return off, badType(off, t)
}

func skipStruct(b []byte, off, depth int, l *Limits) (int, error) {
	if depth <= 0 {
		return off, &Error{Kind: TooDeep, Offset: off}
	}
	for {
		t, _, next, err := FieldHeader(b, off)
		if err != nil {
			return off, err
		}
		if t == Stop {
			return next, nil
		}
		if off, err = SkipAt(b, next, t, depth-1, l); err != nil {
			return off, err
		}
	}
}

func skipList(b []byte, off, depth int, l *Limits) (int, error) {
	if depth <= 0 {
		return off, &Error{Kind: TooDeep, Offset: off}
	}
	elem, n, off, err := ListHeader(b, off, l)
	if err != nil {
		return off, err
	}
	if size := int(fixedSizes[elem]); size > 0 {
		return off + n*size, nil // the header was checked against the bytes left
	}
	for range n {
		if off, err = SkipAt(b, off, elem, depth-1, l); err != nil {
			return off, err
		}
	}
	return off, nil
}

func skipMap(b []byte, off, depth int, l *Limits) (int, error) {
	if depth <= 0 {
		return off, &Error{Kind: TooDeep, Offset: off}
	}
	key, value, n, off, err := MapHeader(b, off, l)
	if err != nil {
		return off, err
	}
	if ks, vs := int(fixedSizes[key]), int(fixedSizes[value]); ks > 0 && vs > 0 {
		return off + n*(ks+vs), nil // as in skipList
	}
	for range n {
		if off, err = SkipAt(b, off, key, depth-1, l); err != nil {
			return off, err
		}
		if off, err = SkipAt(b, off, value, depth-1, l); err != nil {
			return off, err
		}
	}
	return off, nil
}
