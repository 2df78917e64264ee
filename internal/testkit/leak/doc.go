// Package leak is a TestMain that fails if what connections are made of outlives a package's tests:
// goroutines, the descriptors of sockets and pollers, and, in a build with the tag buffercheck,
// blocks of memory.
//
// Only tests, and packages that only tests import, import it.
package leak
