//go:build !linux

// Command bench measures what a call costs on Kiteline and on its peers. It
// needs Linux: its client of the plain servers uses epoll, and memory is read from /proc.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "bench: not supported on %s\n", runtime.GOOS)
	os.Exit(1)
}
