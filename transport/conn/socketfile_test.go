//go:build unix && !solaris && !aix

package conn

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNameBeside: names for the time before the renaming are as long as the final one, others, and
// enough that some are free.
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

// TestUnixLeftovers: what a process left that was killed before the renaming holds nothing up, and is removed
// where it is sure to be that.
func TestUnixLeftovers(t *testing.T) {
	for _, name := range []string{"s", "sock", "server.sock"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			left := filepath.Join(dir, nameBeside(name, 0))
			for range 2 {
				dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
				if err != nil {
					t.Fatal(err)
				}
				dead.SetUnlinkOnClose(false)
				dead.Close()
				ln, err := ListenUnix(t.Context(), new(net.ListenConfig), filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
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
		if err := os.WriteFile(other, []byte("data"), 0o600); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "server.sock")
		ln, err := ListenUnix(t.Context(), new(net.ListenConfig), file)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if got, err := os.ReadFile(other); string(got) != "data" {
			t.Error(fmt.Errorf("the file: got %q, %w", got, err))
		}
	})
}
