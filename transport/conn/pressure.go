package conn

import "github.com/kiteline/kiteline/internal/callback"

// Pressure says how much of what was flushed still waits for the peer.
type Pressure uint8

const (
	// PressureLow: the state of a new connection, and of one that has fallen from PressureHigh to
	// WriteLowWatermark bytes. Left when more than WriteHighWatermark bytes wait.
	PressureLow Pressure = iota

	// PressureHigh: more than WriteHighWatermark bytes waited, since the peer reads more slowly
	// than this side writes. Left when at most WriteLowWatermark bytes wait.
	PressureHigh
)

// String returns "low" or "high".
func (p Pressure) String() string {
	if p == PressureHigh {
		return "high"
	}
	return "low"
}

// Pending returns how many bytes the Flush or Write under way must still hand to the kernel. It may
// be called from any goroutine.
func (c *Conn) Pending() int { return int(c.output.pending.Load()) }

// Pressure returns which watermark was crossed last. It may be called from any goroutine.
func (c *Conn) Pressure() Pressure { return Pressure(c.output.pressure.Load()) }

// setPendingLocked records that n bytes wait for the kernel and reports a crossed watermark.
func (c *Conn) setPendingLocked(n int) {
	c.output.pending.Store(int64(n))
	if c.config.WriteHighWatermark <= 0 {
		return
	}
	switch now := c.Pressure(); {
	case now == PressureLow && n > c.config.WriteHighWatermark:
		c.setPressureLocked(PressureHigh)
	case now == PressureHigh && n <= c.config.WriteLowWatermark:
		c.setPressureLocked(PressureLow)
	}
}

func (c *Conn) setPressureLocked(p Pressure) {
	c.output.pressure.Store(uint32(p))
	if c.config.OnPressure == nil {
		return
	}
	if !c.callbacks.beginAside() {
		return
	}
	// Apart: a callback that ends its goroutine must not leave a message half written.
	if failure := callback.Apart(func() { c.config.OnPressure(c, p) }); failure != nil {
		_ = c.failed(failure)
	}
	c.endAside()
}
