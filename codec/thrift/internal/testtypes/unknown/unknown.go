// Package unknown has the type in which generated structs keep the fields they do not know.
package unknown

// Fields holds the fields as they were read: each a header and a value, one after the other.
type Fields []byte
