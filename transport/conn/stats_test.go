package conn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestStats: what a server and its group have, as figures and in readable form, while a connection
// is used, when its peer has gone, and after Close.
func TestStats(t *testing.T) {
	g := newGroup(t, conn.GroupConfig{Pollers: -1}) // as 0
	release := make(chan struct{})
	entered := make(chan struct{}, 1)
	s := startServer(t, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{
		OnRequest: func(ctx context.Context, c *conn.Conn) error {
			entered <- struct{}{}
			<-release
			return errors.Join(c.Reader().Skip(c.Reader().Len()), context.Canceled)
		},
	}})
	used, idle := s.dial(t), s.dial(t)
	if _, err := used.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, "OnRequest", entered)
	testkit.Eventually(t, "both accepted", func() bool { return s.ConnCount() == 2 })
	want := conn.ServerStats{Listeners: 1, Conns: 2, Accepted: 2}
	if got := s.Stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	wantDump(t, s.DumpText, "serving: listeners 1, connections 2 \\(0 arriving\\), accepted 2, accept errors 0",
		fmt.Sprintf("  %v: handling, 0 bytes to write, pressure low", used.LocalAddr()),
		fmt.Sprintf("  %v: (dormant|lingering), 0 bytes to write, pressure low", idle.LocalAddr()))
	stats := g.Stats()
	if stats.Conns != 2 || stats.Workers < 1 || stats.Queued != 0 || stats.InUse < 1 {
		t.Errorf("got %+v, want 2 connections, a worker and none queued", stats)
	}
	if got := len(stats.Pollers) > 0; got != hasPoller(t) {
		t.Errorf("got pollers: %v", got)
	}
	wantDump(t, g.DumpText, `connections 2 \(.*\), workers [1-9].* \(.*\), pollers [0-9]+ \(.* connections\)`,
		fmt.Sprintf("  %v: handling.*", used.LocalAddr()), fmt.Sprintf("  %v: .*", idle.LocalAddr()))
	close(release)
	testkit.Eventually(t, "the end of a failed request", func() bool { return s.Stats().Conns == 1 && g.Stats().Conns == 1 })
	s.Close()
	want.Listeners, want.Conns = 0, 0
	testkit.Eventually(t, "the end", func() bool { return s.Stats() == want })
	wantDump(t, s.DumpText, "ended: listeners 0, connections 0 .*")
}

// wantDump checks that dump writes lines that match the regular expressions: the first in front,
// the others in any order.
func wantDump(t *testing.T, dump func(w io.Writer) error, head string, lines ...string) {
	t.Helper()
	var text strings.Builder
	testkit.Must(t, dump(&text))
	got := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	if len(got) != 1+len(lines) || !regexp.MustCompile("^"+head+"$").MatchString(got[0]) {
		t.Fatalf("got %q, want %q and %d lines", got, head, len(lines))
	}
	for _, want := range lines {
		if !slices.ContainsFunc(got[1:], regexp.MustCompile("^"+want+"$").MatchString) {
			t.Errorf("got %q, want a line %q", got, want)
		}
	}
}
