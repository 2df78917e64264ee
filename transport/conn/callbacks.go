package conn

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/kiteline/kiteline/internal/callback"
)

// callbacks are what a connection calls, except OnPrepare and OnConnect, which are in its Config,
// and what is known of the calls.
//
// OnDisconnect is called once at most: told is set before. Calls of OnDisconnect, OnReadable and
// OnPressure, and works, are asides: they go on beside the holder. Once ended is set no aside
// begins, and after the last one the close callbacks run, on one goroutine.
type callbacks struct {
	// atomic
	onRequest  atomic.Pointer[func(ctx context.Context, c *Conn) error]
	onDrainAll atomic.Pointer[func()] // set by EndsItself; DrainAll calls it instead of draining

	mu sync.Mutex // guards Conn.attachment too

	// For the next call. Only the holder changes it, with mu held, and may read it without.
	ctx context.Context

	// guarded by mu
	onDisconnect func(ctx context.Context, c *Conn)
	onReadable   func(ctx context.Context, c *Conn)
	onClose      []func(c *Conn)   // close callbacks that were not called yet
	keptOpen     map[Turn]struct{} // calls of OnRequest whose goroutine ends, and that called KeepOpen
	cause        error             // why the connection ended; nil until then
	asides       int32             // how many go on; never less than works
	works        int32             // BeginWork without EndWork; while it is not 0, flagBusy is set
	connecting   bool              // OnConnect has not returned yet: OnDisconnect waits for that
	told         bool              // OnDisconnect was called, or is about to be
	ended        bool              // the connection has no holder left
}

// context returns the context for the next call.
func (k *callbacks) context() context.Context {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ctx
}

// setContext keeps ctx for the next calls, unless it is nil. Only the holder calls it.
func (k *callbacks) setContext(ctx context.Context) {
	if ctx == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ctx = ctx
}

// setCause keeps err as the reason why the connection ended, unless there is one already.
func (k *callbacks) setCause(err error) {
	k.mu.Lock()
	if k.cause == nil {
		k.cause = err
	}
	k.mu.Unlock()
}

// connectReturned notes that OnConnect has returned.
func (k *callbacks) connectReturned() {
	k.mu.Lock()
	k.connecting = false
	k.mu.Unlock()
}

// keepOpen notes that KeepOpen was called in turn t.
func (k *callbacks) keepOpen(t Turn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keptOpen == nil {
		k.keptOpen = make(map[Turn]struct{}, 1)
	}
	k.keptOpen[t] = struct{}{}
}

// isKeptOpen reports whether KeepOpen was called in turn t, and forgets it.
func (k *callbacks) isKeptOpen(t Turn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, kept := k.keptOpen[t]
	delete(k.keptOpen, t)
	return kept
}

// beginAside counts an aside that begins. It reports false if the connection has already ended.
func (k *callbacks) beginAside() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.beginAsideLocked()
}

func (k *callbacks) beginAsideLocked() bool {
	if k.ended {
		return false
	}
	k.asides++
	return true
}

// endAside ends what beginAside began. It reports whether the caller must have the close callbacks
// run.
func (k *callbacks) endAside() (last bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asides--
	return k.ended && k.asides == 0
}

// end notes that the connection has no holder left. It reports whether the caller must have the
// close callbacks run; otherwise the last aside does.
func (k *callbacks) end() (last bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	return k.asides == 0
}

// beginDisconnect returns OnDisconnect, with its context, for the one call of it, and counts that
// as an aside. It returns nil if the call is not due.
func (k *callbacks) beginDisconnect() (f func(ctx context.Context, c *Conn), ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.onDisconnect == nil || k.told || k.connecting || !k.beginAsideLocked() {
		return nil, nil
	}
	k.told = true
	if k.cause == nil {
		k.cause = io.EOF // no reader has learned more
	}
	return k.onDisconnect, k.ctx
}

// beginReadable returns OnReadable for a call of it, and counts that as an aside. It returns nil if
// there is none, or the connection has ended.
func (k *callbacks) beginReadable() func(ctx context.Context, c *Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.onReadable == nil || !k.beginAsideLocked() {
		return nil
	}
	return k.onReadable
}

// hasOnDisconnect reports whether there is an OnDisconnect.
func (k *callbacks) hasOnDisconnect() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.onDisconnect != nil
}

// hasLast reports whether something may be called at the connection's end.
func (k *callbacks) hasLast() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.onClose) > 0 || k.onDisconnect != nil
}

// takeOnClose removes and returns the next close callback, nil if there is none.
func (k *callbacks) takeOnClose() func(*Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := len(k.onClose) - 1
	if last < 0 {
		return nil
	}
	onClose := k.onClose[last]
	k.onClose = k.onClose[:last]
	return onClose
}

// Context returns the context that the next callback gets, as OnPrepare and OnConnect have set it.
func (c *Conn) Context() context.Context { return c.callbacks.context() }

// Err returns why the connection ended, nil while neither side has ended it: io.EOF or an *OpError
// if the peer ended it, an *OpError if a Flush failed, net.ErrClosed after Close, Drain or a
// shutdown, ErrIdleTimeout, a *PanicError, or the error that OnRequest returned. The first reason
// stays. After the peer's end Err may return io.EOF while IsClosed is still false.
func (c *Conn) Err() error {
	c.callbacks.mu.Lock()
	defer c.callbacks.mu.Unlock()
	return c.callbacks.cause
}

// AddCloseCallback adds f to the callbacks that are called once, the last added first, when the
// connection has ended. They run on a goroutine of this package, and f may block or end it; a Close
// may wait for f. Once the connection is torn down, that is, closed with no callback or worker
// left, f is not called and the error matches net.ErrClosed.
func (c *Conn) AddCloseCallback(f func(c *Conn)) error {
	c.callbacks.mu.Lock()
	defer c.callbacks.mu.Unlock()
	if word(c.state.Load()).holder() == holderClosed {
		return opError("add close callback", c.remote, net.ErrClosed)
	}
	c.callbacks.onClose = append(c.callbacks.onClose, f)
	return nil
}

// SetOnDisconnect sets or replaces OnDisconnect. If the peer has gone and OnDisconnect was not
// called yet, f is called soon.
func (c *Conn) SetOnDisconnect(f func(ctx context.Context, c *Conn)) {
	c.callbacks.mu.Lock()
	c.callbacks.onDisconnect = f
	c.callbacks.mu.Unlock()
	w := word(c.state.Load())
	if f != nil && w.has(flagHangup) && (w.holder() == holderHandling || w.holder() == holderPaused || w.holder() == holderUser) {
		c.disconnectElsewhere()
	}
}

// disconnectElsewhere has OnDisconnect called on another goroutine: the poller's must not run it,
// and a reader still holds the reading side, which the callback may expect to be free.
func (c *Conn) disconnectElsewhere() {
	if c.callbacks.hasOnDisconnect() {
		c.spawn(func() { c.disconnect(func() {}) })
	}
}

// disconnect calls OnDisconnect, once and not before OnConnect has returned. Then it calls then,
// even if OnDisconnect was not due or has ended the goroutine.
func (c *Conn) disconnect(then func()) {
	onDisconnect, ctx := c.callbacks.beginDisconnect()
	if onDisconnect == nil {
		then()
		return
	}
	callback.Run(
		func() { onDisconnect(ctx, c) },
		func(failure *callback.Failure) {
			if failure != nil {
				_ = c.failed(failure)
			}
			c.endAside()
			then()
		})
}

// endAside ends an aside. After the last one the close callbacks run on another
// goroutine: the caller may hold a write's lock.
func (c *Conn) endAside() {
	if c.callbacks.endAside() {
		c.spawn(c.finish)
	}
}

// finish runs the close callbacks, once, after the last of the other callbacks.
func (c *Conn) finish() {
	for onClose := c.callbacks.takeOnClose(); onClose != nil; onClose = c.callbacks.takeOnClose() {
		callback.Run(
			func() { onClose(c) },
			func(failure *callback.Failure) {
				if failure != nil {
					_ = c.failed(failure)
				}
				if failure.EndsGoroutine() {
					c.finish()
				}
			})
	}
	if c.accepted != nil {
		c.accepted.forget(c)
	}
}

// failed tells OnPanic that a callback has failed, and returns the failure as an error.
func (c *Conn) failed(failure *callback.Failure) error {
	err := &PanicError{Value: failure.Value, Stack: failure.Stack}
	c.config.tellPanic(c, err)
	return err
}

// spawn runs f on a worker of the group, or without a group on a new goroutine.
func (c *Conn) spawn(f func()) {
	if c.group != nil {
		c.group.dispatcher.do(f)
		return
	}
	go f()
}
