package conn_test

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestUnixStrangersFile: a socket that another user left in a folder writable for all gives the new
// one neither its mode nor its owner; in a folder that only this user may write to, it gives both.
func TestUnixStrangersFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs a file of another user")
	}
	const stranger = 54321
	for folder, taken := range map[os.FileMode]bool{0o755: true, 0o777 | os.ModeSticky: false} {
		dir := socketFolder(t)
		path := filepath.Join(dir, "s")
		leaveStaleSocket(t, path)
		testkit.Must(t, os.Chmod(path, 0o706))
		testkit.Must(t, os.Chown(path, stranger, stranger))
		testkit.Must(t, os.Chmod(dir, folder))
		ln := listenUnix(t, path)
		defer ln.Close()
		var st unix.Stat_t
		testkit.Must(t, unix.Lstat(path, &st))
		if got := st.Uid == stranger && st.Gid == stranger; got != taken {
			t.Errorf("folder of mode %v: got owner %d:%d, taken over: %v", folder, st.Uid, st.Gid, taken)
		}
		if got := st.Mode&0o777 == 0o706; got != taken {
			t.Errorf("folder of mode %v: got mode %o, taken over: %v", folder, st.Mode&0o777, taken)
		}
	}
}

// TestUnixUnreadableFolder: a folder that may be searched and written to, but not read, is enough.
func TestUnixUnreadableFolder(t *testing.T) {
	dir := socketFolder(t)
	defer func() { _ = os.Chmod(dir, 0o700) }()
	testkit.Must(t, os.Chmod(dir, 0o333))
	done := make(chan struct{})
	go func() { // on a thread of its own, which ends with the goroutine
		defer close(done)
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			if err := unix.Setfsuid(54321); err != nil {
				t.Error(err)
				return
			}
		}
		path := filepath.Join(dir, "s")
		for range 2 {
			ln, err := conn.ListenUnix(t.Context(), new(net.ListenConfig), path)
			if err != nil {
				t.Error(err)
				return
			}
			defer ln.Close()
			if !reaches(t, path, ln) {
				t.Error("a connection did not arrive")
			}
		}
	}()
	<-done
	testkit.Must(t, os.Chmod(dir, 0o700))
	wantNames(t, dir)
}
