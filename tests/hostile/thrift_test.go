package hostile

import (
	"bytes"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// form is a form that a message can have on a connection.
type form struct {
	name    string
	of      func(message []byte) []byte
	many    bool // the connection goes on
	answers bool // the message's end is known, and is never waited for
}

var forms = []form{
	{"framed", framed, false, true},
	{"unframed", unframed, false, false},
	{"TTHeader", inTTHeader, false, true},
	{"framed in TTHeader", framedInTTHeader, false, true},
	{"multiplexed", multiplexed, true, true},
	{"framed, multiplexed", framedMultiplexed, true, true},
}

// messagesFor returns the messages that a reader gets in a form: all of them in a long run;
// otherwise all in one form, and in the others those that have killed servers.
func messagesFor(reader, form int) []hostileMessage {
	var chosen []hostileMessage
	for _, m := range hostileMessages {
		switch reads := allReaders[reader]; {
		// Code that checks a message's types sees a normal message.
		case m.declared && reads == readsByHand:
			continue
		case m.required && reads == readsDynamic: // it does not ask for them
			continue
		case m.skipped && skipsOthers(reads): // it sees a normal call
			continue
		}
		if testkit.Long || form == reader%len(forms) || m.kills {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// skipsOthers reports whether the reader skips a field of a type other than declared, as all code
// of Kitex's generator does.
func skipsOthers(reads string) bool {
	return reads == readsCompiled || reads == readsFast || reads == readsFrugal
}

// TestThrift attacks servers with our codec and every reader, in every form that a message can
// have.
func TestThrift(t *testing.T) {
	for i, reads := range allReaders {
		t.Run(reads, func(t *testing.T) {
			v := newVictim(t, reads)
			for j, form := range forms {
				t.Run(form.name, func(t *testing.T) { v.attackWith(t, messagesFor(i, j), form) })
			}
			t.Run("growth", v.attackByGrowth)
			t.Run("unknown fields", v.sendUnknown)
			t.Run("good messages", func(t *testing.T) { v.sendGood(t, reads) })
		})
	}
}

func (v *victim) attackWith(t *testing.T, messages []hostileMessage, form form) {
	live := v.AskNumber("live")
	for _, m := range messages {
		t.Run(m.name, func(t *testing.T) {
			answer := v.attack(t, form.of(thriftMessage(call, "Echo", m.body(1))), form.many)
			if form.answers && !bytes.Contains(answer, []byte{0x80, 1, 0, exception}) {
				t.Errorf("got %q, want an exception", answer)
			}
		})
	}
	// A connection that has ended holds its buffers until the server has closed it.
	testkit.Eventually(t, "the heap is hardly larger than before", func() bool {
		return v.AskNumber("live")-live <= int64(len(messages)*allowed)
	})
}

// TestThriftFramings sends bytes that lie about lengths and kinds.
func TestThriftFramings(t *testing.T) {
	v := newVictim(t, readsCompiled)
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) { v.attack(t, f.sent, false) })
	}
}

// attackByGrowth sends a frame of the greatest length whose elements would take hundreds of times
// its length in memory.
func (v *victim) attackByGrowth(t *testing.T) {
	const n = 16_000_000
	v.attack(t, framed(thriftMessage(call, "Echo", inMessage(1, field(tList, 15, list(tStruct, n, zeros(n)...)...)))), false)
}

// sendUnknown checks that a message whose fields no reader knows takes little memory, and is
// answered.
func (v *victim) sendUnknown(t *testing.T) {
	const n = 1_000_000
	body := cat(field(tList, 99, list(tStruct, n, zeros(n)...)...), []byte{0})
	for _, form := range forms {
		sent := form.of(thriftMessage(call, "Echo", body))
		v.attackAtMost(t, sent, func() {
			if _, err := exchange(v.addr, sent, true); err != nil {
				t.Errorf("%s: %v", form.name, err)
			}
		})
	}
}

// sendGood checks that valid messages are still accepted: the attacks prove no more than the calls
// that they are made of.
func (v *victim) sendGood(t *testing.T, reads string) {
	good := thriftMessage(call, "Echo", inMessage(1, nested(60)))
	// Kitex's readers know no UUID, nor fields of types other than declared.
	if reads == readsCompiled {
		good = thriftMessage(call, "Echo", inMessage(1, field(tUUID, 99, zeros(16)...), nested(60), field(tBool, 1, 1)))
	}
	for _, form := range forms {
		answer, err := exchange(v.addr, form.of(good), true)
		if err != nil || !bytes.Contains(answer, []byte{0x80, 1, 0, reply}) {
			t.Errorf("%s: got %q, %v", form.name, answer, err)
		}
	}
}

// TestThriftKitexCodec lets Kitex's codec read: the transport's limit for messages still holds.
// That codec takes memory for a method's name before it reads the name.
func TestThriftKitexCodec(t *testing.T) {
	v := newVictim(t, readsKitexCodec)
	for _, f := range framings {
		switch f.name {
		case "frame of 2 GiB", "TTHeader of 2 GiB", "frame of 2 GiB in TTHeader":
			t.Run(f.name, func(t *testing.T) { v.attack(t, f.sent, false) })
		}
	}
	for name, sent := range map[string][]byte{
		"string of 1 GiB, framed":   cat(be32(1<<30+100), thriftMessage(call, "Echo", inMessage(1, field(tString, 7, be32(1<<30)...)))),
		"string of 1 GiB, unframed": thriftMessage(call, "Echo", inMessage(1, field(tString, 7, be32(1<<30)...))),
	} {
		t.Run(name, func(t *testing.T) { v.attack(t, sent, false) })
	}
}
