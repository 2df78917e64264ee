package conn

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestContextFromAnywhere: any goroutine may ask for the context at any time. It sees the
// background context, then that of OnPrepare, then that of OnConnect. The race detector checks that
// the calls do not race.
func TestContextFromAnywhere(t *testing.T) {
	type key struct{}
	name := func(ctx context.Context) string {
		s, _ := ctx.Value(key{}).(string)
		return s
	}
	for _, requests := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var asking sync.WaitGroup
			ask := func(c *Conn, allowed ...string) {
				for range 4 {
					asking.Go(func() {
						left := allowed
						for range 100 {
							at := slices.Index(left, name(c.Context()))
							if at < 0 {
								t.Errorf("got %q, want one of %q", name(c.Context()), left)
								return
							}
							left = left[at:]
						}
					})
				}
			}
			cfg := Config{
				OnPrepare: func(c *Conn) context.Context {
					ask(c, "", "prepared", "connected")
					return context.WithValue(t.Context(), key{}, "prepared")
				},
				OnConnect: func(ctx context.Context, c *Conn) context.Context {
					ask(c, "prepared", "connected")
					return context.WithValue(ctx, key{}, "connected")
				},
			}
			if requests {
				cfg.OnRequest = func(ctx context.Context, c *Conn) error {
					if got := name(ctx) + " " + name(c.Context()); got != "connected connected" {
						t.Errorf("in OnRequest: got %q", got)
					}
					return c.Reader().Skip(c.Reader().Len())
				}
			}
			c := newFakeConn(t, cfg, newFakeGroup(t, 1), data("x"))
			ask(c.Conn, "prepared", "connected")
			synctest.Wait()
			asking.Wait()
			if got := name(c.Context()); got != "connected" {
				t.Errorf("got %q, want what OnConnect returned", got)
			}
		})
	}
}
