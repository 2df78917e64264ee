package tbinary

import "encoding/binary"

// FieldHeader reads the header of a field at offset off of b. It returns the field's type, its ID,
// which Stop lacks, and the offset after the header. Types that no value has are errors.
func FieldHeader(b []byte, off int) (t Type, id int16, next int, err error) {
	if uint(off) >= uint(len(b)) {
		return 0, 0, off, truncated(off)
	}
	t = Type(b[off])
	switch {
	case t == Stop:
		return t, 0, off + 1, nil
	case minSizes[t] == 0:
		return 0, 0, off, badType(off, t)
	case len(b)-off < fieldHeaderSize:
		return 0, 0, off, truncated(off)
	}
	return t, int16(binary.BigEndian.Uint16(b[off+1:])), off + fieldHeaderSize, nil
}

// Length reads the length of a string at offset off of b. It returns the length and the offset of
// the string's first byte; b holds all of the string.
func Length(b []byte, off int, l *Limits) (n, next int, err error) {
	if uint(off) > uint(len(b)) || len(b)-off < lengthSize {
		return 0, off, truncated(off)
	}
	n = int(int32(binary.BigEndian.Uint32(b[off:])))
	limit := min(len(b)-off-lengthSize, l.MaxString)
	if n < 0 || n > limit {
		return 0, off, badCount(off, n, limit)
	}
	return n, off + lengthSize, nil
}

// ListHeader reads the header of a list or set at offset off of b. It returns the type and number
// of its elements and the offset of the first. The bytes left suffice for that many smallest values
// of the type. The element type of an empty list may be any up to MaxPlainType.
func ListHeader(b []byte, off int, l *Limits) (elem Type, n, next int, err error) {
	if uint(off) > uint(len(b)) || len(b)-off < listHeaderSize {
		return 0, 0, off, truncated(off)
	}
	elem = Type(b[off])
	n = int(int32(binary.BigEndian.Uint32(b[off+1:])))
	next = off + listHeaderSize
	if err := checkCount(len(b)-next, off, n, int(minSizes[elem]), l); err != nil {
		return 0, 0, off, err
	}
	if minSizes[elem] == 0 && (n > 0 || elem > MaxPlainType) {
		return 0, 0, off, badType(off, elem)
	}
	return elem, n, next, nil
}

// MapHeader reads the header of a map as ListHeader reads that of a list.
func MapHeader(b []byte, off int, l *Limits) (key, value Type, n, next int, err error) {
	if uint(off) > uint(len(b)) || len(b)-off < mapHeaderSize {
		return 0, 0, 0, off, truncated(off)
	}
	key, value = Type(b[off]), Type(b[off+1])
	n = int(int32(binary.BigEndian.Uint32(b[off+2:])))
	next = off + mapHeaderSize
	if err := checkCount(len(b)-next, off, n, int(minSizes[key])+int(minSizes[value]), l); err != nil {
		return 0, 0, 0, off, err
	}
	if minSizes[key] == 0 && (n > 0 || key > MaxPlainType) {
		return 0, 0, 0, off, badType(off, key)
	}
	if minSizes[value] == 0 && (n > 0 || value > MaxPlainType) {
		return 0, 0, 0, off, badType(off+1, value)
	}
	return key, value, n, next, nil
}

// checkCount reports an error unless the bytes left can hold n elements of at least size bytes.
func checkCount(left, off, n, size int, l *Limits) error {
	// A size of zero is a type that no element has: the caller refuses it.
	limit := min(left/max(size, 1), l.MaxContainer)
	if n < 0 || n > limit {
		return badCount(off, n, limit)
	}
	return nil
}
