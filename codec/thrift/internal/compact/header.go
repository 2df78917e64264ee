package compact

// The first two bytes of a message.
const (
	protocolID  = 0x82
	versionMask = 0x1f
	typeShift   = 5 // the message's type, above the version

	// Version is the only version of the protocol.
	Version = 1

	// MaxMessageType is the largest type of a message that its header can hold.
	MaxMessageType = 0xff >> typeShift
)

// IsMessage reports whether a message can begin with b. It looks at two bytes.
func IsMessage(b []byte) bool {
	return len(b) >= 2 && b[0] == protocolID && b[1]&versionMask == Version
}

// MessageType returns the type of the message that begins with b, of which IsMessage is true.
func MessageType(b []byte) uint8 { return b[1] >> typeShift }

// AppendMessage appends the header of a message, up to the method's name, which follows as a
// String.
func AppendMessage(dst []byte, messageType uint8, sequence int32) []byte {
	dst = append(dst, protocolID, Version|messageType<<typeShift)
	return AppendVarint(dst, uint64(uint32(sequence)))
}

// AppendField appends the header of a struct's field. last is the ID of the field before, or 0: if
// id is little above it, the header is one byte.
func AppendField(dst []byte, t Type, id, last int16) []byte {
	if delta := int(id) - int(last); delta > 0 && delta <= TypeMask {
		return append(dst, byte(delta)<<4|byte(t))
	}
	return AppendVarint(append(dst, byte(t)), Zigzag(int64(id)))
}

// AppendList appends the header of a list or set of n elements, at least none.
func AppendList(dst []byte, elem Type, n int) []byte {
	if n < TypeMask {
		return append(dst, byte(n)<<4|byte(elem))
	}
	return AppendVarint(append(dst, TypeMask<<4|byte(elem)), uint64(uint32(n)))
}

// AppendMap appends the header of a map of n pairs. That of an empty map has no types.
func AppendMap(dst []byte, key, value Type, n int) []byte {
	dst = AppendVarint(dst, uint64(uint32(n)))
	if n == 0 {
		return dst
	}
	return append(dst, byte(key)<<4|byte(value))
}
