// Package leak is a TestMain that fails if what connections are made of outlives a package's tests.
//
// Goroutines, the descriptors of sockets and pollers, and, in a build with the
// tag buffercheck, blocks of memory count. Only tests import it.
package leak
