// Package unknown has the type in which generated structs keep unknown fields.
package unknown

// Fields holds the fields as they were read: each a header and a value, one after the other.
type Fields []byte
