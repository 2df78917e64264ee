package mux

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/transport/conn"
)

// TestCloseIfUnused follows a set through all that keeps it in use. Once closed it takes no call.
func TestCloseIfUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newEchoDialer(true)
		down := errors.New("down")
		var fail bool
		s := NewSet(Config{
			Dial: func(ctx context.Context) (*conn.Conn, error) {
				time.Sleep(time.Second)
				if fail {
					return nil, down
				}
				return d.dial(ctx)
			},
			BackoffMin: time.Minute, BackoffMax: time.Minute, IdleTimeout: time.Minute,
		})
		want := func(used string) {
			t.Helper()
			synctest.Wait()
			if s.CloseIfUnused() {
				t.Fatalf("closed with %s", used)
			}
		}
		begun := make(chan *Call)
		go func() {
			c, err := s.Begin(t.Context(), time.Time{})
			if err != nil {
				t.Error(err)
			}
			begun <- c
		}()
		want("a dial and a call that waits for it")
		c := <-begun
		want("a call")
		c.End()
		want("a connection")
		time.Sleep(time.Hour) // it is closed when idle
		fail = true
		if _, err := s.Begin(t.Context(), time.Time{}); !errors.Is(err, down) {
			t.Errorf("got %v, want a failed dial", err)
		}
		want("a pause after a failed dial")
		time.Sleep(time.Hour)
		for range 2 {
			if !s.CloseIfUnused() {
				t.Errorf("in use with nothing: %+v", s.Stats())
			}
		}
		if _, err := s.Begin(t.Context(), time.Time{}); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		_ = s.Close()
		d.wg.Wait()
	})
}

// TestStatsAdd adds each figure to its own.
func TestStatsAdd(t *testing.T) {
	var a, b Stats
	fill := func(st *Stats, first int) {
		v := reflect.ValueOf(st).Elem()
		for i := range v.NumField() {
			if f := v.Field(i); f.CanInt() {
				f.SetInt(int64(first * (i + 1)))
			} else {
				f.SetUint(uint64(first * (i + 1)))
			}
		}
	}
	fill(&a, 1)
	fill(&b, 100)
	a.Add(b)
	fill(&b, 101)
	if a != b {
		t.Errorf("got %+v, want %+v", a, b)
	}
}
