// Package cause has the errors that either side of a connection gives as the cause of its end.
//
// Packages mux and muxserver export those that their users may meet; the values are the same.
package cause
