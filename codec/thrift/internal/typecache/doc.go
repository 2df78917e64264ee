// Package typecache keeps what was found out about Go types. The user finds it out, with a Graph of
// the types that contain each other.
//
// This runs code that belongs to the types, such as their default values. That code may do
// anything: block, or ask a Cache for a type itself, even for the type that is being examined. So
// no lock is held meanwhile, and no goroutine waits for what another finds out. If two goroutines
// ask for the same type at the same time, both find it out, and both get the result that was
// published first.
package typecache
