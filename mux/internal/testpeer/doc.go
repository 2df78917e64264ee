// Package testpeer is the other end of a multiplexed connection, written by hand for the tests of
// package mux and its subpackages. It has frames as they are on the wire, without the code under
// test.
package testpeer
