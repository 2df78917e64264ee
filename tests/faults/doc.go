// Package faults cuts Kitex calls off at every byte, in both directions, as a network does: the
// call fails at once and typed, the next one succeeds, and the handler never sees a part of a
// request. It cuts off streams too, and kills and stops the processes at their ends: neither side
// takes what it has for everything.
//
// What system calls do wrong is tested where they are made, in transport/conn.
package faults
