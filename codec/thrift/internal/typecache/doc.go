// Package typecache keeps what was found out about Go types: how to find it out is the user's, with
// a Graph of the types that are inside one another.
//
// Finding something out runs code that belongs to the types, such as their default values. That
// code may do anything: block, or ask a Cache for a type itself, even for the one that it is asked
// about. So no lock is held meanwhile, and no goroutine waits for what another one finds out: two
// of them that ask for the same type at the same time both find it out, and all get what was there
// first.
package typecache
