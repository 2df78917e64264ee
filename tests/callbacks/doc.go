// Package callbacks checks that whatever ends a callback ends its call, and nothing else: each
// function that a user can give is made to panic, and to end its goroutine as testing.T.FailNow
// does, on connections of every kind.
package callbacks
