// Package loglimit lets few lines of each class of events into Kitex's log.
package loglimit

import (
	"net"
	"sync"
	"time"

	"github.com/cloudwego/kitex/pkg/klog"

	"github.com/kiteline/kiteline/transport/conn"
)

// interval is the least time between two log lines of one class.
const interval = time.Second

// Limiter lets one log line of a class through per interval. It counts the lines in between,
// and at the interval's end writes the last of them with that count. The zero value is ready.
type Limiter struct {
	mu   sync.Mutex
	last time.Time      // guarded by mu: when a line was written last
	held func(more int) // guarded by mu: writes the last line since then; nil: none
	more int            // guarded by mu: lines since last that were dropped for it
}

// Log calls write, now or soon, unless a later line takes this one's place. more is how many lines
// were left out since the previous one. write must not block.
func (l *Limiter) Log(write func(more int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil {
		l.more++
		l.held = write
		return
	}
	if wait := interval - time.Since(l.last); !l.last.IsZero() && wait > 0 {
		l.held = write
		time.AfterFunc(wait, l.release)
		return
	}
	l.last = time.Now()
	write(0)
}

// release writes the line that was held back.
func (l *Limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	write, more := l.held, l.more
	l.held, l.more = nil, 0
	l.last = time.Now()
	write(more)
}

// LogPanic logs that a callback has panicked with value, or ended its goroutine (conn.ErrGoexit).
func (l *Limiter) LogPanic(where string, peer net.Addr, value any, stack []byte) {
	l.Log(func(more int) {
		klog.Errorf("KITELINE: panic in %s, remoteAddress=%v, error=%v (%d more not logged)\nstack=%s",
			where, peer, value, more, stack)
	})
}

// OnPanic is a conn.Config.OnPanic that logs.
func (l *Limiter) OnPanic(c *conn.Conn, err *conn.PanicError) {
	var peer net.Addr
	if c != nil {
		peer = c.RemoteAddr()
	}
	l.LogPanic("a handler or callback", peer, err.Value, err.Stack)
}
