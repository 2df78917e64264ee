// Package faults cuts Kitex calls off at every byte, in both directions, as a network does: the
// call fails at once with a typed error, the next one succeeds, and the handler never sees a part
// of a request. It also cuts off streams, and kills and stops the processes at their ends: neither
// side takes what it has for everything. What one side has written before it closed arrives whole,
// and then the end, once: in a long run that is counted 100,000 times.
//
// Faults of system calls are tested in transport/conn, which makes the calls.
package faults
