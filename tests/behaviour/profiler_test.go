package behaviour

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/profiler"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// countingProfiler is a profiler.Profiler that counts calls and profiles nothing.
type countingProfiler struct {
	mu    sync.Mutex
	calls map[string]int // guarded by mu
}

var _ profiler.Profiler = (*countingProfiler)(nil)

func (p *countingProfiler) count(method string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		p.calls = make(map[string]int)
	}
	p.calls[method]++
}

func (p *countingProfiler) counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.calls)
}

// Run implements profiler.Profiler.
func (p *countingProfiler) Run(context.Context) error { return nil }

// Stop implements profiler.Profiler.
func (p *countingProfiler) Stop() {}

// Pause implements profiler.Profiler.
func (p *countingProfiler) Pause() {}

// Resume implements profiler.Profiler.
func (p *countingProfiler) Resume() {}

// Prepare implements profiler.Profiler.
func (p *countingProfiler) Prepare(ctx context.Context) context.Context {
	p.count("Prepare")
	return ctx
}

// Tag implements profiler.Profiler.
func (p *countingProfiler) Tag(ctx context.Context, tags ...string) context.Context {
	for _, tag := range tags {
		p.count("Tag " + tag)
	}
	return ctx
}

// Untag implements profiler.Profiler.
func (p *countingProfiler) Untag(context.Context) { p.count("Untag") }

// Lookup implements profiler.Profiler.
func (p *countingProfiler) Lookup(context.Context, string) (string, bool) { return "", false }

// The profiler's hooks come once for each request, with tags from the header
// and from the decoded message (default_server_handler.go, startProfiler to
// finishProfiler).
func TestProfiler(t *testing.T) {
	const calls = 5
	want := map[string]int{"Prepare": calls, "Untag": calls, "Tag header": calls, "Tag message": calls}
	tagging := func(tag string) func(context.Context, remote.Message) (context.Context, []string) {
		return func(ctx context.Context, _ remote.Message) (context.Context, []string) { return ctx, []string{tag} }
	}
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			p := new(countingProfiler)
			s := serveEcho(t, tr, new(harness.Service), server.WithProfiler(p),
				server.WithProfilerTransInfoTagging(tagging("header")),
				server.WithProfilerMessageTagging(tagging("message")))
			cli := harness.EchoClient(t, tr, s.Addr, client.WithTransportProtocol(transport.TTHeader))
			for n := range calls {
				if err := harness.CallEcho(context.Background(), cli, n); err != nil {
					t.Fatal(err)
				}
			}
			testkit.Eventually(t, "the last request is over", func() bool { return p.counts()["Untag"] == calls })
			if got := p.counts(); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}
