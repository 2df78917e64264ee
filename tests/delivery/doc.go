// Package delivery counts bytes: what one side has written before it closed, the other
// side gets, all of it and nothing else, and then the end, once.
//
// The build tag hardening has it do so 10^5 times for each direction.
package delivery
