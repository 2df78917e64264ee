//go:build linux && !nopoller

package poller

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestStay checks the contract of InterestStay: each new arrival is reported, an old one not again,
// until Disarm, or an Arm that does not stay.
func TestStay(t *testing.T) {
	p, settle := openPoller(t)
	local, peer := socketPair(t)
	target := newChanTarget()
	token := mustAdd(t, p, target)
	mustArm(t, p, local, token, InterestRead|InterestStay)
	settle()
	target.checkNothing(t)

	for range 3 {
		send(t, peer, "a")
		testkit.Equal(t, target.next(t), Readable)
		settle() // unread, and nothing new: reported once
		target.checkNothing(t)
	}

	testkit.Must(t, p.Disarm(local, token))
	send(t, peer, "b")
	settle()
	target.checkNothing(t)

	mustArm(t, p, local, token, InterestRead|InterestStay) // by level: what came meanwhile
	testkit.Equal(t, target.next(t), Readable, "re-armed")

	mustArm(t, p, local, token, InterestRead) // no longer stays
	testkit.Equal(t, target.next(t), Readable, "armed once")
	send(t, peer, "c")
	settle()
	target.checkNothing(t)
}

// TestStayHangup: the FIN of a busy descriptor is reported.
func TestStayHangup(t *testing.T) {
	p, _ := openPoller(t)
	local, peer := socketPair(t)
	target := newChanTarget()
	token := mustAdd(t, p, target)
	mustArm(t, p, local, token, InterestRead|InterestStay)
	send(t, peer, "a")
	testkit.Equal(t, target.next(t), Readable)
	testkit.Must(t, unix.Shutdown(peer, unix.SHUT_WR))
	testkit.Equal(t, target.next(t), Readable|Hangup)
	p.Forget(token)
}
