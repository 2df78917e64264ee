package mux

import (
	"sync/atomic"
	"time"
)

// arrived is what a connection's reader has noticed of what the peer sends, for the goroutines that
// judge the connection. All of it is atomic, and only the reader changes it.
type arrived struct {
	incoming atomic.Int64  // bytes of a large frame that are still to come
	progress atomic.Uint64 // frames read so far, and parts of large ones
	trickle  atomic.Uint64 // how often less than a part has come
	at       atomic.Int64  // when something last came, in nanoseconds after the connection's birth
	partial  atomic.Bool   // a frame has begun and not come whole
}

// heard returns a number that changes whenever something has come and a reader has noticed it.
func (a *arrived) heard() uint64 { return a.progress.Load() + a.trickle.Load() }

// quiet returns how long nothing has come, on a connection of that age.
func (a *arrived) quiet(age time.Duration) time.Duration {
	return age - time.Duration(a.at.Load())
}
