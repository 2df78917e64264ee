// Package testpeer is the other end of a multiplexed connection, written by hand for the tests of
// package mux and of the packages below it: frames as they are on the wire, without what is tested.
package testpeer
