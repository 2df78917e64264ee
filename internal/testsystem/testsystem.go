// Package testsystem tells tests what the system that runs them lacks and how to run themselves
// there, on other systems and in emulators such as qemu and wine, which .ci/emulated uses.
package testsystem

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Command returns a command that runs the binary of the running test once more. If
// KITELINE_TEST_EXEC names an emulator it runs in that, since the kernel itself cannot run the
// binary then.
func Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := append(strings.Fields(os.Getenv("KITELINE_TEST_EXEC")), program)
	command = append(command, args...)
	return exec.CommandContext(ctx, command[0], command[1:]...), nil
}

// SkipWithoutNetwork skips a test if the system has no sockets of network ("tcp", "tcp6", "unix").
func SkipWithoutNetwork(t testing.TB, network string) {
	t.Helper()
	if err := tryListen(network); lacksNetwork(err) {
		t.Skipf("no %s sockets on this system: %v", network, err)
	}
}

// wsaEAFNOSUPPORT is the error of Windows before 10, and of wine, for Unix sockets.
const wsaEAFNOSUPPORT syscall.Errno = 10047

func lacksNetwork(err error) bool {
	if runtime.GOOS == "windows" {
		return errors.Is(err, wsaEAFNOSUPPORT)
	}
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// Networks returns those of networks ("tcp", "tcp6", "unix", or a name that is no socket's) that
// the system has.
func Networks(networks ...string) []string {
	return slices.DeleteFunc(networks, func(network string) bool {
		return lacksNetwork(tryListen(network))
	})
}

// tryListen returns why nothing can listen on network.
func tryListen(network string) error {
	address := "127.0.0.1:0"
	switch network {
	case "tcp6":
		address = "[::1]:0"
	case "unix":
		dir, err := os.MkdirTemp("", "testsystem")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		address = filepath.Join(dir, "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	return ln.Close()
}

// IsReset reports whether err says that the peer has reset a connection, or had closed it before a
// write. Windows has its own numbers for the errors of sockets.
func IsReset(err error) bool {
	const wsaECONNABORTED, wsaECONNRESET, wsaESHUTDOWN = 10053, 10054, 10058
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	if runtime.GOOS == "windows" {
		return errno == wsaECONNABORTED || errno == wsaECONNRESET || errno == wsaESHUTDOWN
	}
	return errno == syscall.ECONNRESET || errno == syscall.EPIPE
}

// Refused returns the system's error for a connection to an address at which nothing listens.
func Refused() syscall.Errno {
	if runtime.GOOS == "windows" {
		return 10061 // WSAECONNREFUSED
	}
	return syscall.ECONNREFUSED
}
