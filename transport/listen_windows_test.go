package transport

import "syscall"

// listenWithoutQueue has a listener take one connection at most before it is accepted.
func listenWithoutQueue(fd uintptr) error { return syscall.Listen(syscall.Handle(fd), 0) }
