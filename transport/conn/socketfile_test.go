//go:build unix && !solaris && !aix

package conn

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
)

// NameBeside returns the first name that a socket is bound with.
func NameBeside(name string) string { return nameBeside(name, 0) }

// TestNameBeside: temporary names are as long as the final one and differ from it, and there are
// enough for some to be free.
func TestNameBeside(t *testing.T) {
	for n := 1; n <= 20; n++ {
		name := strings.Repeat("a", n)
		tried := make(map[string]bool)
		for attempt := range bindAttempts {
			beside := nameBeside(name, attempt)
			if len(beside) != n || beside == name || beside == "" || beside == "." || beside == ".." || strings.Contains(beside, "/") {
				t.Errorf("for %q: got %q", name, beside)
			}
			tried[beside] = true
		}
		if least := min(bindAttempts/2, 16); len(tried) < least {
			t.Errorf("%d names of %d letters, want %d", len(tried), n, least)
		}
	}
}

// TestUnixLeftovers: a socket of a process that was killed before the renaming holds nothing up,
// and is removed where it is certain to be one.
func TestUnixLeftovers(t *testing.T) {
	for _, name := range []string{"s", "sock", "server.sock"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			left := filepath.Join(dir, nameBeside(name, 0))
			for range 2 {
				dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
				testkit.Must(t, err)
				dead.SetUnlinkOnClose(false)
				dead.Close()
				ln, err := ListenUnix(t.Context(), new(net.ListenConfig), filepath.Join(dir, name))
				testkit.Must(t, err)
				_, err = os.Lstat(left)
				if gone := os.IsNotExist(err); gone != (len(name) >= surestName) {
					t.Errorf("the leftover is gone: %v", gone)
				}
				ln.Close()
				_ = os.Remove(left)
			}
		})
	}
	t.Run("no socket", func(t *testing.T) {
		dir := t.TempDir()
		other := filepath.Join(dir, nameBeside("server.sock", 0))
		testkit.Must(t, os.WriteFile(other, []byte("data"), 0o600))
		file := filepath.Join(dir, "server.sock")
		ln, err := ListenUnix(t.Context(), new(net.ListenConfig), file)
		testkit.Must(t, err)
		defer ln.Close()
		if got, err := os.ReadFile(other); string(got) != "data" {
			t.Error(fmt.Errorf("the file: got %q, %w", got, err))
		}
	})
}

// TestUnixModeSparesOthers: only the new socket gets the earlier one's mode, not a file that was
// put in its place, or the target of a link there.
func TestUnixModeSparesOthers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"bound", "other"} {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		testkit.Must(t, err)
		defer ln.Close()
	}
	f := fileAt(filepath.Join(dir, "bound"))
	defer f.close()
	own, err := f.stat("bound")
	testkit.Must(t, err)
	old := *own
	old.Mode = unix.S_IFSOCK | 0o707
	testkit.Must(t, f.permitAs(&old, own, "bound"))
	if st, err := f.stat("bound"); err != nil || permissions(st) != 0o707 {
		t.Errorf("got mode %o, %v, want 707", permissions(st), err)
	}
	before, err := f.stat("other")
	testkit.Must(t, err)
	testkit.Must(t, os.Symlink("other", filepath.Join(dir, "link")))
	for _, name := range []string{"other", "link"} {
		if err := f.permitAs(&old, own, name); err == nil {
			t.Errorf("%s: no error", name)
		}
		if after, err := f.stat("other"); err != nil || after.Mode != before.Mode {
			t.Errorf("%s: got mode %o, %v, want %o", name, after.Mode, err, before.Mode)
		}
	}
}

// TestUnixTrust: another user's socket gives its owner and mode only where no other user can have
// put it.
func TestUnixTrust(t *testing.T) {
	stranger := os.Geteuid() + 1
	for mode, want := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o775: false, 0o777: false, os.ModeSticky | 0o777: false} {
		dir := t.TempDir()
		testkit.Must(t, os.Chmod(dir, mode))
		f, err := openFolderOf(dir + "/s")
		testkit.Must(t, err)
		defer f.close()
		if got := f.trusts(&unix.Stat_t{Uid: uint32(stranger)}); got != want {
			t.Errorf("a stranger's in a folder of mode %v: got %v, want %v", mode, got, want)
		}
		for _, uid := range []int{0, os.Geteuid()} {
			if !f.trusts(&unix.Stat_t{Uid: uint32(uid)}) {
				t.Errorf("user %d is not trusted in a folder of mode %v", uid, mode)
			}
		}
	}
}

// TestUnixLockPatience: if another program keeps the folder locked, a start waits as long as its
// constant says and a stop much less, and neither outlives its context.
func TestUnixLockPatience(t *testing.T) {
	dir := t.TempDir()
	folder, err := os.Open(dir)
	testkit.Must(t, err)
	defer folder.Close()
	testkit.Must(t, unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	f, err := openFolderOf(dir + "/s")
	testkit.Must(t, err)
	defer f.close()
	synctest.Test(t, func(t *testing.T) {
		ended, end := context.WithCancel(t.Context())
		end()
		for name, wait := range map[string]struct {
			act  func()
			want time.Duration
		}{
			"start":       {func() { _, _ = f.takeLocked(t.Context(), new(net.ListenConfig), dir+"/s") }, startPatience},
			"ended start": {func() { _, _ = f.takeLocked(ended, new(net.ListenConfig), dir+"/s") }, 0},
			"stop":        {f.remove, 100 * time.Millisecond},
		} {
			begun := time.Now()
			wait.act()
			if took := time.Since(begun); took < wait.want || took > wait.want+lockPause {
				t.Errorf("%s: got %v, want %v", name, took, wait.want)
			}
		}
	})
}
