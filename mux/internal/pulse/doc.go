// Package pulse judges from a peer's signs of life whether it is still there.
//
// Both sides of a connection look at it, several times per heartbeat, and tell what they see: how
// much has come, how long writes have waited, and whether silence means anything. A Pulse makes of
// that who is to be asked for a sign, with a ping, and who has not answered. It sends nothing and
// has no timer; the only clock is the time of each look, so a process that was stopped blames
// nobody.
//
// A Suspicion does the same for a peer that has let a call run out of time without a sign of life,
// within about a second. Pieces says whether a frame that has begun goes on.
//
// Each is used by one goroutine at a time.
package pulse
