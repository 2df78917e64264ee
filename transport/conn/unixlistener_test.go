//go:build unix && !solaris && !aix

package conn_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// listenUnix is conn.ListenUnix with a nil ListenConfig.
func listenUnix(t testing.TB, path string) *conn.UnixListener {
	t.Helper()
	ln, err := conn.ListenUnix(t.Context(), nil, path)
	testkit.Must(t, err)
	return ln
}

// socketFolder returns a new folder whose name leaves room for a socket's.
func socketFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // t.TempDir's names are too long for a socket's
	testkit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// names returns the names in a folder.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	testkit.Must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// wantNames fails the test unless the folder has those names and no other.
func wantNames(t testing.TB, dir string, want ...string) {
	t.Helper()
	if got := names(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("in the folder: got %q, want %q", got, want)
	}
}

// reaches reports whether a connection to path arrives at ln.
func reaches(t testing.TB, path string, ln interface {
	net.Listener
	SetDeadline(time.Time) error
}) bool {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Error(err)
		return false
	}
	defer c.Close()
	_ = ln.SetDeadline(time.Now().Add(time.Second))
	accepted, err := ln.Accept()
	if err == nil {
		accepted.Close()
	}
	return err == nil
}

// TestUnixHandover: servers on one path start and stop in any order, with several alive at a time;
// as long as the latest one is alive, a client's dial never fails.
func TestUnixHandover(t *testing.T) {
	dir := socketFolder(t)
	path := filepath.Join(dir, "s")
	g := newGroup(t, conn.GroupConfig{})
	start := func() *conn.Server {
		s, err := conn.NewServer(conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFrames}})
		testkit.Must(t, err)
		ln := listenUnix(t, path)
		go func() {
			testkit.Check(t, s.Serve(ln))
		}()
		return s
	}
	alive := []*conn.Server{start()}
	var stop atomic.Bool
	var dialed atomic.Int64
	var dialers sync.WaitGroup
	for range 3 {
		dialers.Go(func() {
			for !stop.Load() {
				c, err := net.Dial("unix", path)
				switch {
				case errors.Is(err, syscall.EAGAIN): // the backlog is full
				case err != nil:
					t.Error(err)
					return
				default:
					dialed.Add(1)
					_ = c.SetDeadline(time.Now().Add(patience))
					_, _ = call(c, "x") // may be cut off by a stop
					c.Close()
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range testkit.Rounds(300) {
		before := dialed.Load()
		alive = append(alive, start())
		for len(alive) > 1 && random.IntN(3) > 0 {
			i := random.IntN(len(alive) - 1) // any but the last
			if random.IntN(2) == 0 {
				_ = alive[i].Close()
			} else {
				_ = alive[i].Shutdown(t.Context())
			}
			alive = append(alive[:i], alive[i+1:]...)
		}
		testkit.Eventually(t, "a client dials", func() bool { return dialed.Load() > before })
	}
	stop.Store(true)
	dialers.Wait()
	for _, s := range alive {
		_ = s.Close()
	}
	wantNames(t, dir)
}

// descriptorListener is a listener like netpoll's: Close removes the file of its name.
type descriptorListener struct {
	net.Listener
	file *os.File
}

func (l descriptorListener) Fd() int { return int(l.file.Fd()) }

func (l descriptorListener) Close() error {
	return errors.Join(l.file.Close(), l.Listener.Close())
}

// fromDescriptor returns conn.FromDescriptor of a listener on path, which must be free.
func fromDescriptor(t *testing.T, path string) net.Listener {
	t.Helper()
	base, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	testkit.Must(t, err)
	file, err := base.File()
	testkit.Must(t, err)
	ln, err := conn.FromDescriptor(descriptorListener{Listener: base, file: file})
	testkit.Must(t, err)
	return ln
}

// TestUnixDescriptorEnds: a listener from a descriptor still ends after another listener has taken
// its name: its Accept returns net.ErrClosed, clients in its backlog notice, and a second Close
// does nothing.
func TestUnixDescriptorEnds(t *testing.T) {
	path := filepath.Join(socketFolder(t), "s")
	older := fromDescriptor(t, path)
	waiting := dial(t, "unix", path)
	defer waiting.Close()
	newer := listenUnix(t, path)
	defer newer.Close()
	for range 2 {
		testkit.Check(t, older.Close())
	}
	if _, err := older.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: got %v, want %v", err, net.ErrClosed)
	}
	_ = waiting.SetDeadline(time.Now().Add(patience))
	if _, err := waiting.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a client in the backlog: got %v, want its end", err)
	}
	if !reaches(t, path, newer) {
		t.Error("a connection did not arrive")
	}
}

// TestUnixStopSparesSuccessor: a server that stops removes its own file and no other, whether it
// has a listener of its own, one of package net, or one that is known by its descriptor.
func TestUnixStopSparesSuccessor(t *testing.T) {
	listeners := map[string]func(t *testing.T, path string) net.Listener{
		"ListenUnix": func(t *testing.T, path string) net.Listener { return listenUnix(t, path) },
		"net.Listen": func(t *testing.T, path string) net.Listener {
			_ = os.Remove(path) // net.Listen needs the place
			ln, err := net.Listen("unix", path)
			testkit.Must(t, err)
			return ln
		},
		"FromDescriptor": func(t *testing.T, path string) net.Listener {
			_ = os.Remove(path)
			return fromDescriptor(t, path)
		},
	}
	ends := map[string]func(s *conn.Server) error{
		"Close":    (*conn.Server).Close,
		"Shutdown": func(s *conn.Server) error { return s.Shutdown(context.Background()) },
	}
	for oldKind, listenOld := range listeners {
		for newKind, listenNew := range listeners {
			for how, end := range ends {
				t.Run(oldKind+"/"+newKind+"/"+how, func(t *testing.T) {
					dir := socketFolder(t)
					path := filepath.Join(dir, "s")
					serve := func(ln net.Listener) *conn.Server {
						s, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{OnRequest: echoFrames}})
						testkit.Must(t, err)
						served := make(chan error, 1)
						go func() { served <- s.Serve(ln) }()
						t.Cleanup(func() {
							_ = s.Close()
							testkit.Check(t, testkit.Receive(t, "Serve", served))
						})
						checkAnswers(t, path) // Serve has begun
						return s
					}
					older := serve(listenOld(t, path))
					newer := serve(listenNew(t, path))
					testkit.Check(t, end(older))
					checkAnswers(t, path)
					testkit.Check(t, end(newer))
					wantNames(t, dir)
				})
			}
		}
	}
}

func checkAnswers(t *testing.T, path string) {
	t.Helper()
	c := dial(t, "unix", path)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	wantEcho(t, c, "x")
}

// TestUnixAddresses: listeners and connections show the final name, on either side.
func TestUnixAddresses(t *testing.T) {
	path := filepath.Join(socketFolder(t), "server.sock")
	g := newGroup(t, conn.GroupConfig{})
	local := make(chan string, 1)
	s, err := conn.NewServer(conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFrames, OnPrepare: func(c *conn.Conn) context.Context {
		local <- c.LocalAddr().String()
		return nil
	}}})
	testkit.Must(t, err)
	ln := listenUnix(t, path)
	go func() { _ = s.Serve(ln) }()
	var d conn.Dialer
	c, err := d.DialTimeout("unix", path, patience)
	testkit.Must(t, err)
	defer c.Close()
	for what, got := range map[string]string{
		"the listener's Addr": ln.Addr().String(), "the server's LocalAddr": testkit.Receive(t, "OnPrepare", local),
		"the client's RemoteAddr": c.RemoteAddr().String(),
	} {
		if got != path {
			t.Errorf("%s: got %q, want %q", what, got, path)
		}
	}
	if got := ln.Addr().Network(); got != "unix" {
		t.Errorf("network: got %q", got)
	}
	testkit.Check(t, s.Close())
}

// leaveStaleSocket leaves the file of a socket on which no process listens.
func leaveStaleSocket(t testing.TB, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	testkit.Must(t, err)
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

// TestUnixReplacesStaleFile: the new file has the stale one's mode, which the umask would not give;
// without a stale file it has what the umask gives.
func TestUnixReplacesStaleFile(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o777} {
		dir := socketFolder(t)
		path := filepath.Join(dir, "s")
		leaveStaleSocket(t, path)
		testkit.Must(t, os.Chmod(path, mode))
		ln := listenUnix(t, path)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("got mode %v, %v, want %v", info.Mode().Perm(), err, mode)
		}
		if !reaches(t, path, ln) {
			t.Error("a connection did not arrive")
		}
		wantNames(t, dir, "s")
		ln.Close()
		wantNames(t, dir)
	}
	dir := socketFolder(t)
	plain, err := net.Listen("unix", filepath.Join(dir, "plain"))
	testkit.Must(t, err)
	defer plain.Close()
	ln := listenUnix(t, filepath.Join(dir, "ours"))
	defer ln.Close()
	want, err1 := os.Stat(filepath.Join(dir, "plain"))
	got, err2 := os.Stat(filepath.Join(dir, "ours"))
	if err := errors.Join(err1, err2); err != nil || got.Mode() != want.Mode() {
		t.Errorf("got mode %v, want %v (%v)", got.Mode(), want.Mode(), err)
	}
}

// TestUnixSparesOtherFiles: a file that is not a socket stays as it is, and the error says why.
func TestUnixSparesOtherFiles(t *testing.T) {
	for name, create := range map[string]func(path string) error{
		"file":              func(path string) error { return os.WriteFile(path, []byte("data"), 0o600) },
		"folder":            func(path string) error { return os.Mkdir(path, 0o700) },
		"pipe":              func(path string) error { return unix.Mkfifo(path, 0o600) },
		"link to nothing":   func(path string) error { return os.Symlink("nothing", path) },
		"link to somewhere": func(path string) error { return os.Symlink("/", path) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := socketFolder(t)
			path := filepath.Join(dir, "s")
			testkit.Must(t, create(path))
			before, err := os.Lstat(path)
			testkit.Must(t, err)
			_, err = conn.ListenUnix(t.Context(), new(net.ListenConfig), path)
			var op *net.OpError
			if !errors.Is(err, conn.ErrNotSocket) || !errors.As(err, &op) || op.Addr.String() != path {
				t.Errorf("got %v, want a *net.OpError of %s around %v", err, path, conn.ErrNotSocket)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) || after.Size() != before.Size() {
				t.Errorf("the file has changed: %v, %v", after, err)
			}
			wantNames(t, dir, "s")
		})
	}
}

// TestUnixNames: the temporary name is as long as the final one, so every name that package net can
// listen on works, and no other.
func TestUnixNames(t *testing.T) {
	dir := socketFolder(t)
	for _, name := range []string{"s", "_", "..", "so", "...", "sock", "kitex.sock", ".hidden", "ü", "a b",
		strings.Repeat("l", 107-len(dir)-1), strings.Repeat("l", 108-len(dir)-1), strings.Repeat("l", 250)} {
		path := dir + "/" + name
		plain, want := net.Listen("unix", path)
		if want == nil {
			plain.Close()
		}
		for range 3 { // also one over the other
			ln, err := conn.ListenUnix(t.Context(), new(net.ListenConfig), path)
			if (err == nil) != (want == nil) {
				t.Errorf("%q: got %v, want %v", name, err, want)
			}
			if err != nil {
				continue
			}
			defer ln.Close()
			if !reaches(t, path, ln) {
				t.Errorf("%q: a connection did not arrive", name)
			}
			wantNames(t, dir, name)
		}
		_ = os.Remove(path)
	}
}

// TestUnixAbstractNames: abstract names change hands only when they are free.
func TestUnixAbstractNames(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("abstract names are Linux's")
	}
	name := fmt.Sprintf("@kiteline-test-%d-%d", os.Getpid(), rand.Uint64())
	ln := listenUnix(t, name)
	testkit.Equal(t, ln.Addr().String(), name, "address")
	if _, err := conn.ListenUnix(t.Context(), new(net.ListenConfig), name); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want %v", err, syscall.EADDRINUSE)
	}
	if !reaches(t, name, ln) {
		t.Error("a connection did not arrive")
	}
	ln.Close()
	ln = listenUnix(t, name)
	ln.Close()
}

// TestUnixFolderMoves: neither a change of the working directory nor of a link to the folder
// matters for the file's removal.
func TestUnixFolderMoves(t *testing.T) {
	dir, other := socketFolder(t), socketFolder(t)
	link := filepath.Join(socketFolder(t), "link")
	testkit.Must(t, os.Symlink(dir, link))
	t.Chdir(dir)
	relative := listenUnix(t, "relative")
	linked := listenUnix(t, link+"/linked")
	wantNames(t, dir, "linked", "relative")
	t.Chdir(other)
	for _, name := range []string{"relative", "linked"} {
		leaveStaleSocket(t, name)
	}
	testkit.Must(t, errors.Join(os.Remove(link), os.Symlink(other, link)))
	relative.Close()
	linked.Close()
	wantNames(t, dir)
	wantNames(t, other, "linked", "relative")
}

// hasArrival reports whether a connection is in ln's queue. A dial returns when it is there.
func hasArrival(t *testing.T, ln syscall.Conn) (has bool) {
	t.Helper()
	raw, err := ln.SyscallConn()
	testkit.Must(t, err)
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		for err == unix.EINTR {
			n, err = unix.Poll(fds, 0)
		}
		has = n > 0
	})
	testkit.Must(t, err)
	return has
}

// TestUnixStopFollowsNoMove: if a relative name leads to another file after a change of the working
// directory, no stop removes that file, whichever package listens.
func TestUnixStopFollowsNoMove(t *testing.T) {
	dir, other := socketFolder(t), socketFolder(t)
	t.Chdir(dir)
	ln, err := net.Listen("unix", "s")
	testkit.Must(t, err)
	s, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{OnRequest: echoFrames}})
	testkit.Must(t, err)
	go func() { _ = s.Serve(ln) }()
	checkAnswers(t, "s")
	t.Chdir(other)
	leaveStaleSocket(t, "s")
	testkit.Check(t, s.Close())
	wantNames(t, other, "s")
}

// TestUnixStartsAtOnce: of servers that start at the same moment one is reached, and the folder has
// only its file.
func TestUnixStartsAtOnce(t *testing.T) {
	dir := socketFolder(t)
	path := filepath.Join(dir, "server.sock")
	for range testkit.Rounds(20) {
		var starting sync.WaitGroup
		listeners := make([]*conn.UnixListener, 8)
		failures := make([]error, len(listeners))
		for i := range listeners {
			starting.Go(func() {
				listeners[i], failures[i] = conn.ListenUnix(t.Context(), new(net.ListenConfig), path)
			})
		}
		starting.Wait()
		testkit.Must(t, errors.Join(failures...))
		wantNames(t, dir, "server.sock")
		c := dial(t, "unix", path)
		reached := 0
		for _, ln := range listeners {
			if hasArrival(t, ln) {
				reached++
			}
		}
		if reached != 1 {
			t.Errorf("a connection arrived at %d listeners, want 1", reached)
		}
		c.Close()
		for _, ln := range listeners {
			ln.Close()
		}
		wantNames(t, dir)
	}
}

// TestUnixLockIsHeld: if another program keeps the folder locked, a start goes on without the lock
// but removes no leftover, and a stop leaves the file.
func TestUnixLockIsHeld(t *testing.T) {
	t.Parallel()
	dir := socketFolder(t)
	path := filepath.Join(dir, "server.sock")
	older := listenUnix(t, path)
	wantNames(t, dir, "server.sock")
	leftover := filepath.Join(dir, conn.NameBeside("server.sock"))
	leaveStaleSocket(t, leftover)
	folder, err := os.Open(dir)
	testkit.Must(t, err)
	defer folder.Close()
	testkit.Must(t, flock(folder, unix.LOCK_EX))
	ended, end := context.WithCancel(t.Context())
	end()
	for _, ctx := range []context.Context{t.Context(), ended} {
		ln, err := conn.ListenUnix(ctx, new(net.ListenConfig), path)
		testkit.Must(t, err)
		if !reaches(t, path, ln) {
			t.Error("a connection did not arrive")
		}
		defer ln.Close()
	}
	closed := make(chan error, 1)
	go func() { closed <- older.Close() }()
	testkit.Check(t, testkit.Receive(t, "Close", closed))
	wantNames(t, dir, filepath.Base(leftover), "server.sock")
}

// TestUnixFails: without a folder, or with a name that is too long, the error is that of package
// net and names the path.
func TestUnixFails(t *testing.T) {
	dir := socketFolder(t)
	for path, want := range map[string]error{
		filepath.Join(dir, "none", "s"):                   syscall.ENOENT,
		filepath.Join(dir, strings.Repeat("l", 200), "s"): syscall.ENOENT,
		filepath.Join(dir, strings.Repeat("l", 200)):      syscall.EINVAL,
	} {
		_, err := conn.ListenUnix(t.Context(), new(net.ListenConfig), path)
		var op *net.OpError
		if !errors.Is(err, want) || !errors.As(err, &op) || op.Op != "listen" || op.Addr.String() != path {
			t.Errorf("got %v, want %v of %s", err, want, path)
		}
		wantNames(t, dir)
	}
}

// TestUnixListenerIsInherited: a listener whose descriptor was given away leaves its file alone if
// told so, and the new owner's listener goes on under the same name. That one removes the file if
// told so, and only its own.
func TestUnixListenerIsInherited(t *testing.T) {
	dir := socketFolder(t)
	path := filepath.Join(dir, "s")
	for _, unlink := range []bool{true, false} {
		parent := listenUnix(t, path)
		file, err := parent.File()
		testkit.Must(t, err)
		child, err := conn.InheritUnix(file, path)
		testkit.Must(t, err)
		file.Close()
		parent.SetUnlinkOnClose(false)
		parent.Close()
		if !reaches(t, path, child) {
			t.Error("a connection did not arrive")
		}
		testkit.Equal(t, child.Addr().String(), path, "address")
		child.SetUnlinkOnClose(unlink)
		child.Close()
		if unlink {
			wantNames(t, dir)
		} else {
			wantNames(t, dir, "s")
		}
	}
	tcp := listen(t, "tcp").(*net.TCPListener)
	defer tcp.Close()
	file, err := tcp.File()
	testkit.Must(t, err)
	defer file.Close()
	if _, err := conn.InheritUnix(file, path); err == nil {
		t.Error("a TCP listener was taken for a Unix socket's")
	}
}

// TestUnixFailuresSpareLocks: a start that fails unlocks only its own folder, whatever other
// goroutines open and lock meanwhile.
func TestUnixFailuresSpareLocks(t *testing.T) {
	dir, other := socketFolder(t), filepath.Join(socketFolder(t), "locked")
	path := filepath.Join(dir, "s")
	testkit.Must(t, errors.Join(os.WriteFile(path, nil, 0o600), os.WriteFile(other, nil, 0o600)))
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			for range testkit.Rounds(3000) {
				if _, err := conn.ListenUnix(t.Context(), new(net.ListenConfig), path); !errors.Is(err, conn.ErrNotSocket) {
					t.Errorf("got %v, want %v", err, conn.ErrNotSocket)
					return
				}
			}
		})
	}
	probe, err := os.Open(other)
	testkit.Must(t, err)
	defer probe.Close()
	var stop atomic.Bool
	var locker sync.WaitGroup
	lost := 0
	locker.Go(func() {
		for !stop.Load() {
			if !holdsLock(t, other, probe) {
				lost++
			}
		}
	})
	starting.Wait()
	stop.Store(true)
	locker.Wait()
	if lost > 0 {
		t.Errorf("%d locks were lost", lost)
	}
}

// holdsLock locks the file and reports whether the lock holds against probe, another descriptor of
// it.
func holdsLock(t *testing.T, path string, probe *os.File) bool {
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return true
	}
	defer f.Close()
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Error(err)
		return true
	}
	for range 20 {
		if flock(probe, unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = flock(probe, unix.LOCK_UN)
			return false
		}
	}
	return true
}

// flock is flock(2), repeated when a signal interrupts it.
func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// TestUnixFollowsLinks: ".." after a symbolic link means what it means for bind(2).
func TestUnixFollowsLinks(t *testing.T) {
	dir, elsewhere := socketFolder(t), socketFolder(t)
	target := filepath.Join(elsewhere, "folder")
	testkit.Must(t, errors.Join(os.Mkdir(target, 0o700), os.Symlink(target, filepath.Join(dir, "link"))))
	path := dir + "/link/../app.sock"
	for range 2 {
		ln := listenUnix(t, path)
		defer ln.Close()
		if !reaches(t, path, ln) {
			t.Error("a connection did not arrive")
		}
		wantNames(t, elsewhere, "app.sock", "folder")
		wantNames(t, dir, "link")
	}
}

// TestUnixFailsLate: a start that fails after the socket was bound leaves nothing of it.
func TestUnixFailsLate(t *testing.T) {
	for name, spoil := range map[string]func(dir, path string) error{
		"the name is taken by a folder": func(_, path string) error { return os.Mkdir(path, 0o700) },
		"the folder is replaced": func(dir, _ string) error {
			return errors.Join(os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(socketFolder(t), "d")
			testkit.Must(t, os.Mkdir(dir, 0o700))
			path := filepath.Join(dir, "s")
			lc := net.ListenConfig{Control: func(string, string, syscall.RawConn) error { return spoil(dir, path) }}
			if ln, err := conn.ListenUnix(t.Context(), &lc, path); err == nil {
				ln.Close()
				t.Fatal("no error")
			}
			_ = os.Remove(path)
			wantNames(t, dir)
		})
	}
}
