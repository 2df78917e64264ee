package conn

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// allHolders are the holders in the order of the columns of the tables below.
var allHolders = []holder{
	holderNew, holderDormant, holderReady, holderServing, holderHandling, holderLingering, holderUser, holderWatched, holderPaused, holderClosed,
}

var allFlags = []word{flagHangup, flagClosing, flagDraining, flagUnread, flagMore, flagBusy, flagOffered, flagPaused}

var eventNames = map[event]string{
	eventOpenDormant: "open dormant", eventOpenReady: "open ready", eventOpenUser: "open user",
	eventServe: "serve", eventHandle: "handle", eventHandled: "handled", eventLinger: "linger",
	eventLingerPartial: "linger partial", eventResume: "resume", eventRest: "rest", eventRestPartial: "rest partial",
	eventRequeue: "requeue", eventYield: "yield", eventReadable: "readable", eventHangup: "hangup", eventIdle: "idle",
	eventWatch: "watch", eventUse: "use", eventDrain: "drain", eventAdopt: "adopt", eventClose: "close", eventRelease: "release",
	eventOffer: "offer", eventTake: "take", eventTakeUnwatched: "take unwatched", eventPause: "pause",
	eventResumeReading: "resume reading", eventRestPaused: "rest paused", eventAwaitCalm: "await calm",
	eventBusy: "busy", eventCalm: "calm",
}

// transitions is the diagram as tables, one per set of flags. A cell has the new holder if it
// changes, the flags that are set (+) and cleared (-), and the actions; "." changes nothing and
// asks for nothing, "BUG" panics.
var transitions = []struct {
	flags word
	rows  string
}{
	{0, `
open dormant   | dormant       | BUG           | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
open ready     | ready queue   | BUG           | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
open user      | user          | BUG           | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
serve          | BUG           | BUG           | serving | BUG | BUG | BUG | BUG | BUG | BUG | BUG
handle         | BUG           | BUG           | BUG | handling | BUG | BUG | BUG | BUG | BUG | BUG
handled        | BUG           | BUG           | BUG | BUG | serving | BUG | BUG | BUG | BUG | BUG
linger         | BUG           | BUG           | BUG | lingering | BUG | BUG | BUG | BUG | BUG | BUG
linger partial | BUG           | BUG           | BUG | lingering | BUG | BUG | BUG | BUG | BUG | BUG
resume         | BUG           | BUG           | BUG | BUG | BUG | serving | BUG | BUG | BUG | BUG
rest           | BUG           | BUG           | BUG | dormant | BUG | BUG | BUG | BUG | BUG | BUG
rest partial   | BUG           | BUG           | BUG | dormant | BUG | BUG | BUG | BUG | BUG | BUG
requeue        | BUG           | BUG           | BUG | ready queue | BUG | BUG | BUG | BUG | BUG | BUG
yield          | BUG           | BUG           | BUG | user | BUG | BUG | BUG | BUG | BUG | BUG
readable       | .             | ready queue   | +more | +more | +more | +more | . | user +unread readable | . | .
hangup         | +hangup       | ready +hangup queue | +hangup +more | +hangup +more | +hangup +more disconnect | +hangup +more | +hangup disconnect | user +hangup disconnect | +hangup disconnect | .
idle           | .             | closed +closing close teardown | . | . | . | +closing close | closed +closing close teardown | closed +closing close teardown | . | .
watch          | .             | .             | . | . | . | . | watched | . | . | .
use            | .             | .             | . | . | . | . | . | user disarm | . | .
drain          | +draining     | ready +draining queue | +draining | +draining | +draining | +draining kick | +draining | closed +closing +draining close teardown | +draining | .
adopt          | .             | .             | . | . | . | . | ready queue | ready queue | . | .
close          | +closing close | closed +closing close teardown | +closing close | +closing close | +closing close | +closing close | closed +closing close teardown | closed +closing close teardown | closed +closing close teardown | .
release        | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
offer          | BUG | BUG | BUG | BUG | +offered | BUG | BUG | BUG | BUG | BUG
take           | . | . | . | . | . | . | . | . | . | .
take unwatched | . | . | . | . | . | . | . | . | . | .
pause          | BUG | BUG | BUG | BUG | +paused | BUG | BUG | BUG | BUG | BUG
resume reading | . | . | . | . | . | . | . | . | ready queue | .
rest paused    | BUG | BUG | BUG | kick | BUG | BUG | BUG | BUG | BUG | BUG
await calm     | BUG | BUG | BUG | kick | BUG | BUG | BUG | BUG | BUG | BUG
busy           | +busy | +busy | +busy | +busy | +busy | +busy | +busy | +busy | +busy | .
calm           | . | . | . | . | . | . | . | . | . | .`},
	{flagClosing, `
open dormant   | closed teardown | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
open ready     | closed teardown | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
open user      | closed teardown | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
serve          | BUG | BUG | serving | BUG | BUG | BUG | BUG | BUG | BUG | BUG
handle         | BUG | BUG | BUG | handling | BUG | BUG | BUG | BUG | BUG | BUG
handled        | BUG | BUG | BUG | BUG | serving | BUG | BUG | BUG | BUG | BUG
linger         | BUG | BUG | BUG | lingering | BUG | BUG | BUG | BUG | BUG | BUG
linger partial | BUG | BUG | BUG | lingering | BUG | BUG | BUG | BUG | BUG | BUG
resume         | BUG | BUG | BUG | BUG | BUG | serving | BUG | BUG | BUG | BUG
rest           | BUG | BUG | BUG | closed teardown | BUG | BUG | BUG | BUG | BUG | BUG
rest partial   | BUG | BUG | BUG | closed teardown | BUG | BUG | BUG | BUG | BUG | BUG
requeue        | BUG | BUG | BUG | closed teardown | BUG | BUG | BUG | BUG | BUG | BUG
yield          | BUG | BUG | BUG | closed teardown | BUG | BUG | BUG | BUG | BUG | BUG
readable       | . | - | +more | +more | +more | +more | - | - | - | .
hangup         | . | - | . | . | . | . | - | - | - | .
idle           | . | - | . | . | . | . | - | - | - | .
watch          | . | - | . | . | . | . | - | - | - | .
use            | . | - | . | . | . | . | - | - | - | .
drain          | +draining | - | +draining | +draining | +draining | +draining kick | - | - | - | .
adopt          | . | - | . | . | . | . | - | - | - | .
close          | . | - | . | . | . | . | - | - | - | .
release        | closed teardown | closed teardown | closed teardown | closed teardown | closed teardown | closed teardown | closed teardown | closed teardown | closed teardown | BUG
rest paused    | BUG | BUG | BUG | closed teardown | BUG | BUG | BUG | BUG | BUG | BUG
await calm     | BUG | BUG | BUG | closed teardown | BUG | BUG | BUG | BUG | BUG | BUG
offer          | BUG | BUG | BUG | BUG | +offered | BUG | BUG | BUG | BUG | BUG
pause          | BUG | BUG | BUG | BUG | +paused | BUG | BUG | BUG | BUG | BUG`},
	{flagDraining, `
open dormant   | ready queue | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
open ready     | ready queue | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
open user      | user        | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
serve          | BUG | BUG | serving | BUG | BUG | BUG | BUG | BUG | BUG | BUG
handle         | BUG | BUG | BUG | handling | BUG | BUG | BUG | BUG | BUG | BUG
handled        | BUG | BUG | BUG | BUG | serving | BUG | BUG | BUG | BUG | BUG
linger         | BUG | BUG | BUG | kick | BUG | BUG | BUG | BUG | BUG | BUG
linger partial | BUG | BUG | BUG | lingering | BUG | BUG | BUG | BUG | BUG | BUG
resume         | BUG | BUG | BUG | BUG | BUG | serving | BUG | BUG | BUG | BUG
rest           | BUG | BUG | BUG | kick | BUG | BUG | BUG | BUG | BUG | BUG
rest partial   | BUG | BUG | BUG | dormant | BUG | BUG | BUG | BUG | BUG | BUG
requeue        | BUG | BUG | BUG | ready queue | BUG | BUG | BUG | BUG | BUG | BUG
yield          | BUG | BUG | BUG | user | BUG | BUG | BUG | BUG | BUG | BUG`},
	{flagHangup, `
hangup         | . | ready queue | +more | +more | +more | +more | . | user disconnect | . | .
watch          | . | .           | . | . | . | . | . | . | . | .
rest           | BUG | BUG | BUG | dormant | BUG | BUG | BUG | BUG | BUG | BUG`},
	{flagUnread, `
readable       | - | - | - | - | - | - | . | user readable | - | .
watch          | - | - | - | - | - | - | watched | . | - | .
use            | - | - | - | - | - | - | -unread | user -unread disarm | - | .
adopt          | - | - | - | - | - | - | ready -unread queue | ready -unread queue | - | .
drain          | - | - | - | - | - | - | +draining | +draining | - | .`},
	{flagBusy, `
calm           | -busy | -busy | -busy | -busy | -busy | -busy | -busy | -busy | -busy | -
take           | . | . | . | . | . | . | . | . | . | .
idle           | . | . | . | . | . | . | . | . | . | -
close          | +closing close | closed +closing close teardown | +closing close | +closing close | +closing close | +closing close | closed +closing close teardown | closed +closing close teardown | closed +closing close teardown | -
await calm     | BUG | BUG | BUG | paused | BUG | BUG | BUG | BUG | BUG | BUG
rest paused    | BUG | BUG | BUG | kick | BUG | BUG | BUG | BUG | BUG | BUG`},
	{flagBusy | flagDraining, `
calm           | -busy | ready -busy queue | -busy | -busy | -busy | -busy kick | -busy | -busy | -busy | -
open dormant   | dormant | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG | BUG
linger         | BUG | BUG | BUG | lingering | BUG | BUG | BUG | BUG | BUG | BUG
rest           | BUG | BUG | BUG | dormant | BUG | BUG | BUG | BUG | BUG | BUG
drain          | . | ready queue | . | . | . | kick | . | - | . | -`},
	{flagBusy | flagHangup, `
calm           | -busy | - | -busy | -busy | -busy | -busy | -busy | - | ready -busy queue | -
await calm     | BUG | BUG | BUG | paused | BUG | BUG | BUG | BUG | BUG | BUG
take           | . | - | . | . | . | . | . | - | . | -`},
	{flagBusy | flagHangup | flagPaused, `
calm           | - | - | - | -busy | -busy | - | - | - | ready -busy -paused queue | -`},
	{flagOffered, `
handled        | BUG | BUG | BUG | BUG | serving -offered | BUG | BUG | BUG | BUG | BUG
take           | - | - | - | - | BUG | - | - | - | - | -
take unwatched | - | - | - | - | BUG | - | - | - | - | -
readable       | - | - | - | - | +more | - | - | - | - | -
close          | - | - | - | - | +closing close | - | - | - | - | -`},
	{flagOffered | flagBusy, `
handled        | BUG | BUG | BUG | BUG | serving -offered | BUG | BUG | BUG | BUG | BUG
take           | - | - | - | - | dormant -offered +turn arm | - | - | - | - | -
take unwatched | - | - | - | - | ready -offered +turn queue | - | - | - | - | -`},
	{flagOffered | flagBusy | flagClosing, `
take           | - | - | - | - | . | - | - | - | - | -
take unwatched | - | - | - | - | . | - | - | - | - | -
handled        | BUG | BUG | BUG | BUG | serving -offered | BUG | BUG | BUG | BUG | BUG`},
	{flagOffered | flagBusy | flagMore, `
take           | - | - | - | - | ready -offered +turn queue | - | - | - | - | -
take unwatched | - | - | - | - | ready -offered +turn queue | - | - | - | - | -`},
	{flagOffered | flagBusy | flagPaused, `
take           | - | - | - | - | paused -offered +turn watch | - | - | - | - | -
take unwatched | - | - | - | - | paused -offered +turn watch | - | - | - | - | -
resume reading | - | - | - | - | -paused +more | - | - | - | - | -`},
	{flagPaused, `
handle         | BUG | BUG | BUG | handling -paused | BUG | BUG | BUG | BUG | BUG | BUG
handled        | BUG | BUG | BUG | BUG | serving | BUG | BUG | BUG | BUG | BUG
resume reading | - | - | - | -paused +more | -paused +more | - | - | - | ready -paused queue | -
rest paused    | BUG | BUG | BUG | paused watch | BUG | BUG | BUG | BUG | BUG | BUG`},
	{flagPaused | flagClosing, `
rest paused    | BUG | BUG | BUG | closed teardown | BUG | BUG | BUG | BUG | BUG | BUG`},
}

// TestTransitions checks word.on against the tables.
func TestTransitions(t *testing.T) {
	byName := make(map[string]event)
	for ev, name := range eventNames {
		byName[name] = ev
	}
	for _, table := range transitions {
		for row := range strings.SplitSeq(strings.TrimSpace(table.rows), "\n") {
			cells := strings.Split(row, "|")
			name := strings.TrimSpace(cells[0])
			ev, ok := byName[name]
			if !ok || len(cells) != len(allHolders)+1 {
				t.Fatalf("malformed row %q", row)
			}
			for i, h := range allHolders {
				want := strings.Join(strings.Fields(cells[i+1]), " ")
				if want == "-" {
					continue // not reachable: see TestReachableStates
				}
				if got := describe(table.flags.to(h), ev); got != want {
					t.Errorf("%s in %s with flags %v: got %q, want %q", name, h, table.flags.flags(), got, want)
				}
			}
		}
	}
}

// describe applies ev to w and returns the result as the tables have it.
func describe(w word, ev event) (s string) {
	defer func() {
		if v := recover(); v != nil {
			s = "BUG"
			if !strings.HasPrefix(fmt.Sprint(v), "conn: BUG: ") {
				s = fmt.Sprint(v)
			}
		}
	}()
	next, act := w.on(ev)
	var parts []string
	if next.holder() != w.holder() {
		parts = append(parts, next.holder().String())
	}
	for _, name := range (w &^ next).flags() {
		parts = append(parts, "-"+name)
	}
	for _, name := range (next &^ w).flags() {
		parts = append(parts, "+"+name)
	}
	if next.turn() != w.turn() {
		parts = append(parts, "+turn")
	}
	parts = append(parts, actionNames(act)...)
	if len(parts) == 0 {
		return "."
	}
	return strings.Join(parts, " ")
}

func actionNames(a action) []string {
	var names []string
	for _, n := range []struct {
		act  action
		name string
	}{{actQueue, "queue"}, {actDisconnect, "disconnect"}, {actDisarm, "disarm"}, {actKick, "kick"}, {actCloseSocket, "close"}, {actTeardown, "teardown"}, {actArm, "arm"}, {actWatch, "watch"}, {actReadable, "readable"}} {
		if a&n.act != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// isHeld reports whether in h a goroutine has the connection and will raise the holder's next
// event.
func isHeld(h holder) bool {
	switch h {
	case holderNew, holderReady, holderServing, holderHandling, holderLingering:
		return true
	}
	return false
}

// apply is w.on with a panic as ok == false.
func apply(w word, ev event) (next word, act action, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	next, act = w.on(ev)
	return next, act, true
}

// TestEveryStateAndEvent checks, for every holder, set of flags and event, what must hold whatever
// the tables say.
func TestEveryStateAndEvent(t *testing.T) {
	for _, h := range allHolders {
		for bits := range 1 << len(allFlags) {
			w := word(h)
			for i, f := range allFlags {
				if bits>>i&1 != 0 {
					w |= f
				}
			}
			if !possible(w) {
				continue
			}
			for ev, name := range eventNames {
				next, act, ok := apply(w, ev)
				if !ok {
					continue
				}
				where := fmt.Sprintf("%s in %s with %v", name, h, w.flags())
				checkEdge(t, where, w, next, act)
			}
		}
	}
}

// possible excludes states that, as TestReachableStates shows, never occur.
func possible(w word) bool {
	h := w.holder()
	if h == holderClosed {
		return w.has(flagClosing)
	}
	if w.has(flagOffered) && h != holderHandling {
		return false
	}
	if w.has(flagPaused) && h != holderHandling && h != holderServing && h != holderPaused {
		return false
	}
	if isHeld(h) || h == holderDormant || h == holderPaused {
		return !w.has(flagUnread) && (isHeld(h) || !w.has(flagClosing))
	}
	return !w.has(flagClosing)
}

// checkEdge checks one transition.
func checkEdge(t *testing.T, where string, w, next word, act action) {
	t.Helper()
	if lost := w &^ next & (flagClosing | flagHangup | flagDraining); lost != 0 {
		t.Errorf("%s: lost %v", where, lost.flags())
	}
	if w.holder() == holderClosed && (next != w || act != actNone) {
		t.Errorf("%s: left the closed state: %v, %v", where, next, actionNames(act))
	}
	if closes := act&actCloseSocket != 0; closes != (!w.has(flagClosing) && next.has(flagClosing)) {
		t.Errorf("%s: the socket is closed: %v, but closing went from %v to %v", where, closes, w.has(flagClosing), next.has(flagClosing))
	}
	if tears := act&actTeardown != 0; tears != (w.holder() != holderClosed && next.holder() == holderClosed) {
		t.Errorf("%s: teardown: %v, from %s to %s", where, tears, w.holder(), next.holder())
	}
	if queues := act&actQueue != 0; queues != (w.holder() != holderReady && next.holder() == holderReady) {
		t.Errorf("%s: queued: %v, from %s to %s", where, queues, w.holder(), next.holder())
	}
	if next.holder() == holderClosed && !next.has(flagClosing) {
		t.Errorf("%s: closed but not closing", where)
	}
	if act&actDisconnect != 0 && w.has(flagClosing) {
		t.Errorf("%s: OnDisconnect although this side closed first", where)
	}
}

// outsideEvents may be raised at any time, by the poller, the sweep, the timer,
// the server, users and closers, and by work beside the callbacks.
var outsideEvents = []event{
	eventReadable, eventHangup, eventIdle, eventWatch, eventUse, eventDrain, eventAdopt, eventClose,
	eventResumeReading, eventBusy, eventCalm,
}

// takes are raised on a busy connection, by the sweep or by the handler itself.
var takes = []event{eventTake, eventTakeUnwatched}

// holderMoves are what a holder may do next, by serve.go and open.go.
func holderMoves(w word) []event {
	switch w.holder() {
	case holderNew:
		return []event{eventOpenDormant, eventOpenReady, eventOpenUser}
	case holderReady:
		return []event{eventServe}
	case holderServing:
		moves := []event{eventRestPaused}
		if !w.has(flagPaused) {
			moves = append(moves, eventHandle, eventLinger, eventLingerPartial, eventRest, eventRestPartial, eventRequeue, eventYield)
		}
		if !w.has(flagPaused) && w.has(flagHangup) {
			moves = append(moves, eventAwaitCalm)
		}
		if w.has(flagClosing) {
			moves = append(moves, eventRelease)
		}
		return moves
	case holderHandling:
		if w.has(flagOffered) {
			return []event{eventHandled}
		}
		return []event{eventHandled, eventOffer, eventPause}
	case holderLingering:
		return []event{eventResume}
	}
	return nil
}

// TestReachableStates explores every interleaving of the holder with all other goroutines, from a
// new connection on. Each edge is one goroutine's compare-and-swap, so the graph of words is
// complete.
func TestReachableStates(t *testing.T) {
	seen := map[word]bool{}
	queue := []word{word(holderNew)}
	seen[queue[0]] = true
	edges := 0
	visit := func(w word, ev event, byHolder bool) {
		next, act, ok := apply(w, ev)
		where := fmt.Sprintf("%s in %s with %v", eventNames[ev], w.holder(), w.flags())
		if !ok {
			t.Errorf("%s: a legal event panics", where)
			return
		}
		edges++
		checkEdge(t, where, w, next, act)
		if next.turn() != 0 {
			if ev != eventTake && ev != eventTakeUnwatched || !w.has(flagOffered) {
				t.Errorf("%s: a new turn although nothing was taken", where)
			}
			next &= oneTurn - 1 // the graph would be endless
		} else if !byHolder && isHeld(w.holder()) && next.holder() != w.holder() {
			t.Errorf("%s: took the connection away from its holder: %s", where, next.holder())
		}
		if !possible(next) {
			t.Errorf("%s: got %s with %v, which should not be", where, next.holder(), next.flags())
		}
		if !isHeld(next.holder()) && next.holder() != holderClosed && next.has(flagClosing) {
			t.Errorf("%s: closing and nobody left to tear it down: %s", where, next.holder())
		}
		if next.has(flagUnread) && isHeld(next.holder()) {
			t.Errorf("%s: a holder has the connection and it is still marked unread", where)
		}
		if next != w && next.has(flagDraining) && !next.has(flagBusy) && next.holder() == holderDormant && ev != eventRestPartial &&
			w.holder() != holderDormant {
			t.Errorf("%s: asleep although it is to be drained", where)
		}
		if next.holder() == holderPaused && !next.has(flagPaused) && !next.has(flagHangup) {
			t.Errorf("%s: paused, and nobody will end that", where)
		}
		if !seen[next] {
			seen[next] = true
			queue = append(queue, next)
		}
	}
	for len(queue) > 0 {
		w := queue[0]
		queue = queue[1:]
		for _, ev := range outsideEvents {
			visit(w, ev, false)
		}
		for _, ev := range holderMoves(w) {
			visit(w, ev, true)
		}
		if w.has(flagBusy) {
			for _, ev := range takes {
				visit(w, ev, false)
			}
		}
		if w.has(flagClosing) {
			checkTeardown(t, w)
		}
	}
	reached := map[holder]bool{}
	for w := range seen {
		reached[w.holder()] = true
	}
	for _, h := range allHolders {
		if !reached[h] {
			t.Errorf("%s was never reached", h)
		}
	}
	if edges < 500 {
		t.Errorf("got %d edges, want the whole graph", edges)
	}
	t.Logf("%d states, %d edges", len(seen), edges)
}

// checkTeardown follows the holder of a closing connection on every way out and checks that each
// leads to exactly one teardown.
func checkTeardown(t *testing.T, w word) {
	t.Helper()
	for _, ev := range holderMoves(w) {
		next, act, _ := apply(w, ev)
		switch {
		case act&actTeardown != 0:
			for _, late := range outsideEvents {
				if after, act, ok := apply(next, late); !ok || after != next || act != actNone {
					t.Errorf("%s after the teardown: got %v, %v, want nothing", eventNames[late], after, actionNames(act))
				}
			}
		case ev == eventRelease, ev == eventRest, ev == eventRestPartial, ev == eventRequeue, ev == eventYield,
			ev == eventRestPaused, ev == eventAwaitCalm:
			if act&actKick == 0 {
				t.Errorf("%s in %s with %v: no teardown", eventNames[ev], w.holder(), w.flags())
			}
		}
	}
}

func TestHolderNames(t *testing.T) {
	seen := map[string]bool{}
	for _, h := range allHolders {
		if name := h.String(); name == "invalid" || seen[name] {
			t.Errorf("holder %d: got name %q, want one of its own", uint32(h), name)
		}
		seen[h.String()] = true
	}
	testkit.Equal(t, holder(200).String(), "invalid")
}

// TestReusableAfterLateReport: the poller reports bytes that a user is just reading, as it may when
// the sweep has just had the connection watched. IsReusable is true, since nothing is left.
func TestReusableAfterLateReport(t *testing.T) {
	c := newFakeConn(t, Config{}, newFakeGroup(t, 1), data("reply"))
	reusable := func(want bool) {
		t.Helper()
		testkit.Equal(t, c.IsReusable(), want, "IsReusable")
	}
	reusable(false)
	if _, err := c.Reader().Peek(5); err != nil {
		t.Fatal(err)
	}
	c.transition(eventWatch)
	c.transition(eventReadable)
	reusable(false) // it is in the buffer
	testkit.Must(t, c.Reader().Skip(5))
	reusable(true)
	if word(c.state.Load()).has(flagUnread) {
		t.Error("the report is not forgotten")
	}
}
