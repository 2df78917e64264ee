// Package callbacks checks that a callback that does not return ends its call, and nothing else.
// Each function that a user can give is made to panic, and to end its goroutine as
// testing.T.FailNow does, on connections of every kind.
package callbacks
