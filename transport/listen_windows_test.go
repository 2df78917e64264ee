package transport

import "syscall"

// listenWithoutQueue limits a listener's accept queue to one connection at most.
func listenWithoutQueue(fd uintptr) error { return syscall.Listen(syscall.Handle(fd), 0) }
