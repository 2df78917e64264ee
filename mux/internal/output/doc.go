// Package output is the writing side of a connection that many goroutines send on: it queues their
// frames in order and writes many at once.
//
// No sender waits for the socket. The first sender that finds nobody writing writes for all, as far
// as the kernel has room; where it has none, a goroutine goes on.
//
//	out := output.New(c, output.Config{Waits: !output.CanTry(c.NetConn()), OnError: fail})
//	position, err := out.Send(request, output.InCompany)
//	...
//	if !out.Cancel(position) { // nothing of it was sent
//		out.Detach(position) // or its memory is free again
//	}
//
// # Ownership
//
// A frame belongs to the output from Send on. So does the memory linked into it: for good, or, if
// it is lent (Config.Lent), until Cancel or Detach has taken it back or the frame was written.
//
// # Concurrency
//
// All methods of Output may be called from any goroutine. Callbacks are called without a lock.
//
// # Errors
//
// A write that fails closes the output with its error; the user must close the stream. Every later
// Send fails with the error of the first Close.
//
// # Limitations
//
// Full bounds nothing by itself: the sender asks, and waits or gives up.
package output
