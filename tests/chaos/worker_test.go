package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// keptConns is how many idle connections a worker keeps.
const keptConns = 4

// step is one action of a worker, and its frequency.
type step struct {
	weight int
	name   string
	do     func(*worker) error
}

var steps = []step{
	{40, "a new connection", (*worker).connect},
	{40, "a kept connection", (*worker).reuse},
	{48, "pooled calls", (*worker).callPooled},
	{48, "multiplexed calls", (*worker).callMuxed},
	{20, "closing from outside", (*worker).closeAny},
	{16, "recycling descriptors", (*worker).recycle},
	{2, "a new client", (*worker).renew},
	{2, "cleaning a pool", (*worker).clean},
	{1, "a restart", (*worker).restart},
}

// run works until the deadline.
func (k *worker) run(until time.Time) error {
	sum := 0
	for _, s := range steps {
		sum += s.weight
	}
	if err := errors.Join(k.newPooled(), k.newMuxed()); err != nil {
		return err
	}
	for time.Now().Before(until) {
		n := k.r.IntN(sum)
		for i := range steps {
			if n -= steps[i].weight; n < 0 {
				k.doing.Store(&steps[i].name)
				k.since.Store(time.Now().UnixNano())
				if err := steps[i].do(k); err != nil {
					return fmt.Errorf("%s: %w", steps[i].name, err)
				}
				break
			}
		}
	}
	k.doing.Store(nil)
	for _, c := range k.kept {
		c.conn().Close()
	}
	k.pooled.close()
	k.muxed.close()
	for _, p := range k.seen {
		k.lookAgain(p)
	}
	return nil
}

func (k *worker) connect() error {
	s := k.w.plain[k.r.IntN(len(k.w.plain))]
	c, err := k.w.dialPlain(k.r, s)
	if err != nil {
		if !harness.IsTyped(err) && !os.IsTimeout(err) {
			k.w.tally.fault(untyped, "a dial: %v", err)
		}
		return nil
	}
	for range k.r.IntN(8) {
		if err := c.exchange(k.r); err != nil {
			c.judge("an exchange", err)
			c.conn().Close()
			return nil
		}
	}
	if k.r.IntN(3) > 0 || c.raw != nil || c.hasty {
		c.end(k.r)
		return nil
	}
	if len(k.kept) == keptConns {
		k.kept[0].end(k.r)
		k.kept = k.kept[1:]
	}
	k.kept = append(k.kept, c)
	return nil
}

func (k *worker) reuse() error {
	if len(k.kept) == 0 {
		return nil
	}
	n := k.r.IntN(len(k.kept))
	c := k.kept[n]
	if c.own.IsReusable() {
		err := c.exchange(k.r)
		if err == nil && !c.hasty {
			return nil
		}
		if err != nil {
			c.judge("an exchange on a kept connection", err)
		}
	}
	c.conn().Close()
	k.kept = append(k.kept[:n], k.kept[n+1:]...)
	return nil
}

// callsAtOnce is the most calls that a worker makes at the same time.
const callsAtOnce = 6

func (k *worker) callPooled() error { k.call(k.pooled); return nil }
func (k *worker) callMuxed() error  { k.call(k.muxed); return nil }

// payloadSeen is an answer, with a copy of its contents.
type payloadSeen struct {
	got   *echo.Payload
	label string
	data  []byte
}

func (k *worker) call(c *rpcClient) {
	n := 1 + k.r.IntN(callsAtOnce)
	answers := make(chan *echo.Payload, n)
	for range n {
		r := rand.New(rand.NewPCG(k.r.Uint64(), k.r.Uint64()))
		go func() { answers <- c.call(r) }()
	}
	for range n {
		if got := <-answers; got != nil {
			slot := &k.seen[k.r.IntN(len(k.seen))]
			k.lookAgain(*slot)
			*slot = &payloadSeen{got, string([]byte(got.Label)), bytes.Clone(got.Data)}
		}
	}
}

// lookAgain checks that an answer is unchanged long after its memory was released.
func (k *worker) lookAgain(p *payloadSeen) {
	if p != nil && (p.got.Label != p.label || !bytes.Equal(p.got.Data, p.data)) {
		k.w.tally.fault(misrouted, "the answer %q has become %q", p.label, p.got.Label)
	}
}

// closeAny closes a connection that another worker uses, on either side.
func (k *worker) closeAny() error {
	n := k.r.IntN(1 + len(k.w.plain) + len(k.w.rpc))
	switch {
	case n == 0:
		if c, ok := k.w.clients.pick(); ok {
			k.w.tally.closes.Add(1)
			return c.Close()
		}
	case n <= len(k.w.plain):
		if c, ok := k.w.plain[n-1].open.pick(); ok {
			k.w.tally.closes.Add(1)
			if k.r.IntN(3) == 0 {
				c.Drain()
				return nil
			}
			return c.Close()
		}
	default:
		if c, ok := k.w.rpc[n-1-len(k.w.plain)].open.pick(); ok {
			k.w.tally.closes.Add(1)
			return c.Close()
		}
	}
	return nil
}

// recycle opens descriptors that have probably just belonged to a connection, and checks that no
// other code writes to them, reads from them, or closes them.
func (k *worker) recycle() error {
	for range 1 + k.r.IntN(8) {
		token := appendPattern(nil, k.w.identities.Add(1)<<16, 0, 1+k.r.IntN(64))
		between := func() {
			if k.r.IntN(8) == 0 {
				pause(1)
			}
		}
		got, err := throughNewDescriptors(token, between)
		if errors.Is(err, errNoPair) {
			return err
		}
		k.w.tally.recycled.Add(2)
		if err != nil || !bytes.Equal(got, token) {
			k.w.tally.fault(misrouted, "a descriptor that is nobody else's had %x, want %x, and %v", got, token, err)
		}
	}
	return nil
}

func (k *worker) newPooled() (err error) {
	k.pooled, err = k.w.newPooledClient()
	return err
}

func (k *worker) newMuxed() (err error) {
	k.muxed, err = k.w.newMuxClient()
	return err
}

// renew replaces a client, and closes the old one while its last calls run.
func (k *worker) renew() error {
	c, replace := &k.pooled, k.newPooled
	if k.r.IntN(2) == 0 {
		c, replace = &k.muxed, k.newMuxed
	}
	old := *c
	r := rand.New(rand.NewPCG(k.r.Uint64(), k.r.Uint64()))
	done := make(chan struct{})
	go func() { defer close(done); old.call(r) }()
	old.close()
	<-done
	return replace()
}

func (k *worker) clean() error {
	c := k.pooled
	if k.r.IntN(2) == 0 {
		c = k.muxed
	}
	c.clean("tcp", k.w.rpc[k.r.IntN(len(k.w.rpc))].address)
	return nil
}

func (k *worker) restart() error {
	n := k.r.IntN(len(k.w.plain) + len(k.w.rpc))
	if n < len(k.w.plain) {
		return k.w.plain[n].restart(k.r)
	}
	return k.w.rpc[n-len(k.w.plain)].restart()
}
