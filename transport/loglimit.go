package transport

import (
	"sync"
	"time"
)

// logInterval is the least time between two log lines of one class.
const logInterval = time.Second

// logLimiter lets one log line per logInterval through. The zero value is ready.
type logLimiter struct {
	mu         sync.Mutex
	last       time.Time // guarded by mu
	suppressed int       // guarded by mu: since last
}

// allow reports whether to log now, and how many lines were held back since the last one.
func (l *logLimiter) allow() (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.last.IsZero() && now.Sub(l.last) < logInterval {
		l.suppressed++
		return 0, false
	}
	suppressed, l.suppressed = l.suppressed, 0
	l.last = now
	return suppressed, true
}
