// Package pulse judges from a peer's signs of life whether it is still there.
//
// Both sides of a connection look at it several times per heartbeat, and say what they see: how
// much has come, how long writes have waited, and whether silence means anything. From that a Pulse
// decides whether the peer must be asked for a sign, with a ping, and whether it has failed to
// answer. It sends nothing and has no timer. Its only clock is the time of each look, so a process
// that was stopped does not blame its peers.
//
// A Suspicion does the same, within about a second, for a peer that has let a call run out of time
// without a sign of life. Pieces says whether a frame that has begun goes on.
//
// Each is used by one goroutine at a time.
package pulse
