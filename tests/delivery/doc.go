// Package delivery counts bytes: the other side gets all that one side has written before it
// closed, nothing else, and then the end, once.
//
// With the build tag long it does so 10^5 times for each direction.
package delivery
