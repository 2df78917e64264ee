package tbinary

import "encoding/binary"

// Scanner finds the end of a struct in bytes that arrive bit by bit. It looks at each byte of a
// header once, however the bytes are cut, and never at those of a string. The zero Scanner is not
// usable: see Reset.
type Scanner struct {
	limits *Limits
	max    int  // offset at which the struct must have ended
	off    int  // where the scan goes on
	voids  bool // a field may be of type Void
	open   []level
	first  [DefaultMaxDepth]level // open's memory, unless the limit is higher
}

// level is a struct or container whose end has not come yet.
type level struct {
	struc bool // fields up to Stop; left and the types have no meaning
	left  int  // elements to come; each key and each value counts as one
	next  Type // of the next element
	other Type // of the one after that; next and other take turns
}

// Reset begins a new struct at offset off of the bytes, which must end at offset end or before.
func (s *Scanner) Reset(l *Limits, off, end int) {
	s.limits, s.max, s.off, s.voids = l, max(end, off), off, false
	s.open = append(s.first[:0], level{struc: true})
}

// AcceptVoid makes the scanner take a field of type Void for a struct until the next Reset. Kitex's
// generic services write such a field as the result of a method without a result.
func (s *Scanner) AcceptVoid() { s.voids = true }

// Offset returns where the scanner goes on: all bytes before it belong to the struct. It may be
// after the end of the scanned bytes.
func (s *Scanner) Offset() int { return s.off }

// Drop says that from now on the bytes begin n later. n is at most Offset.
func (s *Scanner) Drop(n int) {
	s.off -= n
	s.max -= n
}

// Scan goes on in b, which holds all bytes so far, including those before the struct and excluding
// those dropped. If the struct ends in b, done is true and size is the offset of its end. Otherwise
// it ends at size or later, and size is more than len(b).
func (s *Scanner) Scan(b []byte) (size int, done bool, err error) {
	for len(s.open) > 0 {
		top := &s.open[len(s.open)-1]
		if !top.struc && top.left == 0 {
			s.open = s.open[:len(s.open)-1]
			continue
		}
		var t Type
		header := 0
		if top.struc {
			if s.off >= len(b) {
				return s.more(1)
			}
			if t = Type(b[s.off]); t == Stop {
				s.off++
				s.open = s.open[:len(s.open)-1]
				continue
			}
			if t == Void && s.voids {
				t = Struct
			}
			header = fieldHeaderSize
		} else {
			t = top.next
		}
		need, err := s.value(b, t, header, top)
		if err != nil {
			return 0, false, err
		}
		if need > 0 {
			return s.more(need)
		}
	}
	if s.off > s.max {
		return 0, false, badCount(s.off, s.off, s.max)
	}
	return s.off, true, nil
}

// more reports that the n bytes from s.off on are not all in b.
func (s *Scanner) more(n int) (size int, done bool, err error) {
	if size = s.off + n; size > s.max {
		return 0, false, badCount(s.off, size, s.max)
	}
	return size, false, nil
}

// value steps over header bytes and the value of type t after them, or into the value if it has
// parts. If b lacks bytes for that, value returns how many it needs from s.off on, and changes
// nothing.
func (s *Scanner) value(b []byte, t Type, header int, top *level) (need int, err error) {
	at := s.off + header
	inner := level{}
	switch t {
	case String:
		if len(b)-at < lengthSize {
			return header + lengthSize, nil
		}
		n := int(int32(binary.BigEndian.Uint32(b[at:])))
		if limit := max(min(s.limits.MaxString, s.max-at-lengthSize), 0); n < 0 || n > limit {
			return 0, badCount(at, n, limit)
		}
		at += lengthSize + n
	case Struct:
		inner.struc = true
	case List, Set:
		if len(b)-at < listHeaderSize {
			return header + listHeaderSize, nil
		}
		elem := Type(b[at])
		n, err := s.count(b, at, elem, elem, listHeaderSize-lengthSize)
		if err != nil {
			return 0, err
		}
		at += listHeaderSize
		inner = level{left: n, next: elem, other: elem}
	case Map:
		if len(b)-at < mapHeaderSize {
			return header + mapHeaderSize, nil
		}
		key, value := Type(b[at]), Type(b[at+1])
		n, err := s.count(b, at, key, value, mapHeaderSize-lengthSize)
		if err != nil {
			return 0, err
		}
		at += mapHeaderSize
		inner = level{left: 2 * n, next: key, other: value}
	default:
		size := int(fixedSizes[t])
		if size == 0 {
			return 0, badType(s.off, t)
		}
		at += size // b may lack these bytes: more asks for them
	}
	return 0, s.step(t, at, top, inner)
}

// count reads and checks the number of elements at byte skip of the header at offset at.
func (s *Scanner) count(b []byte, at int, key, value Type, skip int) (int, error) {
	n := int(int32(binary.BigEndian.Uint32(b[at+skip:])))
	left := s.max - at - skip - lengthSize
	size := int(minSizes[key])
	if skip == mapHeaderSize-lengthSize {
		size += int(minSizes[value])
	}
	if err := checkCount(max(left, 0), at, n, size, s.limits); err != nil {
		return 0, err
	}
	for _, t := range [...]Type{key, value} {
		if minSizes[t] == 0 && (n > 0 || t > MaxPlainType) {
			return 0, badType(at, t)
		}
	}
	return n, nil
}

// step moves the scanner to off: it has passed one element of top, or enters that element as inner.
func (s *Scanner) step(t Type, off int, top *level, inner level) error {
	s.off = off
	if !top.struc {
		top.left--
		top.next, top.other = top.other, top.next
	}
	if t != Struct && t != Map && t != List && t != Set {
		return nil
	}
	if len(s.open) >= s.limits.MaxDepth {
		return &Error{Kind: TooDeep, Offset: off}
	}
	if ks, vs := int(fixedSizes[inner.next]), int(fixedSizes[inner.other]); t == Map && ks > 0 && vs > 0 {
		s.off += inner.left / 2 * (ks + vs)
		return nil
	} else if ks > 0 && t != Struct && t != Map {
		s.off += inner.left * ks
		return nil
	}
	s.open = append(s.open, inner)
	return nil
}
