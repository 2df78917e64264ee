//go:build !race

// A single goroutine explores: the race detector would find nothing and take minutes.

package conn

import (
	"fmt"
	"strings"
	"testing"
)

// This file and model_steps_test.go are a model of a connection's protocol: everything that
// serve.go, close.go, sweep.go, handoff.go, pause.go and work.go do to a connection's state, over
// the real transition function, as small steps between which any other goroutine may run. explore
// goes through all interleavings, so what holds in every state it meets holds for every timing.
//
// Other packages are simpler here: the kernel has units of data instead of bytes, and the poller
// reports once for each arming, or once for each edge, and may be late.

// modelConfig says what happens to the connection; everything may happen at any time.
type modelConfig struct {
	sends  uint8 // units of data from the peer
	fin    bool  // and then its FIN
	closes uint8 // calls of Close
	drains bool  // the server shuts down
	idles  bool  // the idle timer finds the connection idle
	sweeps uint8 // number of sweeps

	// What OnRequest may do besides taking all there is or nothing.
	offers, pauses, works, partial bool

	// Without OnRequest: how often its user reads, and whether SetOnRequest is called then.
	user   bool
	uses   uint8
	adopts bool
	tells  bool // and whether it has an OnReadable

	short bool // reads may leave something behind although they had room, as at an urgent mark

	on    func(w word, ev event) (word, action) // word.on, unless a test breaks it
	fault modelFault                            // how a test breaks a step
}

// modelFault is a mistake in the protocol, which the model must find.
type modelFault uint8

const (
	faultNone         modelFault = iota
	faultStayUnnoted             // rest misses the report of an arming that stays
	faultArmByEdge               // arming does not look at the level
	faultNoArmingMu              // arming and its change of state are two steps, not one
	faultCloserTears             // Close tears down although the connection has a holder
	faultNoDrainKick             // a drain leaves a lingering goroutine alone
	faultUncounted               // a handler that loses the reading side is not counted as work
	faultResumeForgot            // Resume before the pause is at rest is forgotten
	faultCalmForgot              // the last EndWork does not look at what waits for it
	faultKickedUnread            // no look follows a lingering wait that ended unread
	faultUnreadKept              // after an OnReadable that reads nothing only hang-ups are armed
)

// modelThread is a goroutine: where it is, and what it knows.
type modelThread struct {
	pc    pc
	ret   pc    // where teardown, handle or close go on
	turn  uint8 // the turn in which OnRequest was called
	act   action
	eof   bool // the read that failed did so with the peer's end
	had   uint8
	pause bool // OnRequest has called Pause
}

// The goroutines of the model.
const (
	threadWorker1 = iota
	threadWorker2
	threadPoller
	threadCloser
	threadDrainer
	threadIdler
	threadSweeper
	threadTask   // runs OnDisconnect and the close callbacks, as spawn does
	threadResume // calls Resume
	threadWork   // calls EndWork
	threadUser   // uses a connection without OnRequest
	threadCount
)

var threadNames = [threadCount]string{"worker 1", "worker 2", "poller", "closer", "drainer", "idle timer", "sweep", "task", "resumer", "work", "user"}

// modelArming is what the kernel reports about the socket.
type modelArming uint8

const (
	armedNot modelArming = iota
	armedOnce
	armedStay
	armedHangup
)

// modelState is the whole state. It is compared, so it has no pointers.
type modelState struct {
	w word

	// the kernel
	sent, read  uint8 // units that have come, and that were read
	fin         bool  // the peer's FIN has come
	closed      uint8 // how often the socket was closed
	arming      modelArming
	edge        bool // something came that an arming that stays has not reported
	pending     bool // the poller has seen something and not reported it yet
	pendingGone bool // the same for a hang-up

	// the connection
	armingMu  uint8 // 0, or the thread that holds it
	staying   bool
	forgotten bool  // it is in no poller
	buffered  uint8 // units in the buffer
	seen      bool  // OnRequest has seen all of those, and left some
	kick      bool
	ended     bool
	asides    uint8
	works     uint8
	told      bool
	finishes  uint8
	tearDowns uint8
	inRequest uint8 // OnRequests that run and have not offered the reading side
	beside    uint8 // and those that have
	working   uint8 // work that goes on
	queued    uint8
	drained   bool // the drainer has begun
	resumes   uint8
	disconTo  uint8 // OnDisconnects that were spawned
	readTo    uint8 // and OnReadables
	finishTo  uint8
	offers    uint8 // how many more offers, pauses and works there may be
	pauses    uint8
	workings  uint8
	idles     uint8
	sweeps    uint8
	closes    uint8
	uses      uint8
	adopts    uint8
	reading   bool // its user reads
	roleTaken bool // its user, or OnReadable, reads or is about to
	asked     bool // Close was called

	threads [threadCount]modelThread
}

// model explores.
type model struct {
	modelConfig
	states []modelState
	from   []int32
	by     []uint8
	index  map[modelState]int32
	broken string // the first violation
	at     int    // where
	quiet  int    // states in which nothing but time goes on
}

// mostModelStates limits one exploration.
const mostModelStates = 3_000_000

func newModel(cfg modelConfig) *model {
	if cfg.on == nil {
		cfg.on = func(w word, ev event) (word, action) { return w.on(ev) }
	}
	m := &model{modelConfig: cfg, index: make(map[modelState]int32)}
	s := modelState{sweeps: cfg.sweeps, closes: cfg.closes}
	if cfg.idles {
		s.idles = 1
	}
	if cfg.offers {
		s.offers = 1
	}
	if cfg.pauses {
		s.pauses = 1
	}
	if cfg.works {
		s.workings = 1
	}
	if cfg.adopts {
		s.adopts = 1
	}
	s.uses = cfg.uses
	if cfg.user {
		s.w, _ = cfg.on(word(holderNew), eventOpenUser)
	} else {
		s.w, _ = cfg.on(word(holderNew), eventOpenDormant)
		s.arming = armedOnce
	}
	m.add(s, -1, 0)
	return m
}

// add adds a state that thread has led to, unless it is known.
func (m *model) add(s modelState, from int, thread int) {
	if _, known := m.index[s]; known {
		return
	}
	m.index[s] = int32(len(m.states))
	m.states = append(m.states, s)
	m.from = append(m.from, int32(from))
	m.by = append(m.by, uint8(thread))
}

// explore goes through all states that can be reached, until one is wrong.
func (m *model) explore() {
	for i := 0; i < len(m.states) && m.broken == ""; i++ {
		if len(m.states) > mostModelStates {
			m.fail(i, "more states than are looked at")
			return
		}
		m.expand(i)
	}
}

// expand makes every step that is possible in the ith state.
func (m *model) expand(i int) {
	defer func() {
		if v := recover(); v != nil {
			m.fail(i, fmt.Sprint(v))
		}
	}()
	s := m.states[i]
	m.at = i
	busy := m.peer(i)
	for thread := range threadCount {
		next := m.step(s, thread)
		for _, n := range next {
			m.add(n, i, thread)
		}
		// A sweep and the idle timer may come or not.
		if len(next) > 0 && !m.isOptional(s, thread) {
			busy = true
		}
	}
	if !busy {
		m.quiet++
		m.checkQuiet(s)
	}
}

// isOptional reports whether the thread's next step may never happen. With an OnReadable the sweep
// comes as long as it has something to do.
func (m *model) isOptional(s modelState, thread int) bool {
	return (thread == threadSweeper && !m.tells || thread == threadIdler || thread == threadCloser || thread == threadDrainer) && s.threads[thread].pc == pcStart
}

// peer sends. It reports whether it must: no, since it may also be silent.
func (m *model) peer(i int) bool {
	s := m.states[i]
	if s.closed > 0 || s.fin {
		return false
	}
	if s.sent < m.sends {
		s.sent++
		s.edge = s.arming == armedStay
		m.add(s, i, threadCount)
		return false
	}
	if m.fin {
		s.fin = true
		s.edge = s.arming == armedStay
		m.add(s, i, threadCount)
	}
	return false
}

// checkQuiet checks a state in which all threads wait: whatever has come was seen, and whatever
// must end has ended.
func (m *model) checkQuiet(s modelState) {
	closed := s.w.holder() == holderClosed
	switch {
	case !s.w.isOpen() && !closed:
		panic("lost: the connection is closing and nobody tears it down")
	case closed && (s.finishes != 1 || s.closed != 1 || s.tearDowns != 1):
		panic(fmt.Sprintf("ended with %d teardowns, %d closes of the socket and %d runs of the close callbacks", s.tearDowns, s.closed, s.finishes))
	case closed && s.w.has(flagHangup) && !s.told:
		panic("lost: OnDisconnect was not called")
	case closed:
	case s.asked:
		panic("lost: Close was called and the connection is open")
	case s.w.holder() == holderPaused:
		panic("lost: the connection is paused and nobody resumes it")
	case s.w.holder() == holderWatched && s.fin && !s.w.has(flagHangup):
		panic("lost: a watched connection is taken for alive although its peer has closed")
	case s.w.holder() == holderUser && s.w.has(flagHangup) && !s.told:
		panic("lost: OnDisconnect was not called")
	case m.tells && s.read < s.sent && !s.w.has(flagHangup):
		panic("lost: something has come and OnReadable was not called")
	case m.user && s.adopts == m.countAdopts():
	case m.short && s.staying && s.w.holder() == holderDormant: // the next sweep arms it by level
	case s.fin:
		panic("lost: the peer has closed and nobody does anything")
	case s.read < s.sent:
		panic("lost: something has come and nobody reads it")
	case s.buffered > 0 && !s.seen:
		panic("lost: something was read and OnRequest was not called")
	case s.drained && s.buffered == 0 && !m.user:
		panic("lost: the connection is to be drained and nobody does it")
	}
}

// countAdopts returns how many calls of SetOnRequest are left at the start.
func (m *model) countAdopts() uint8 {
	if m.adopts {
		return 1
	}
	return 0
}

func (m *model) fail(i int, what string) {
	if m.broken == "" {
		m.broken, m.at = what, i
	}
}

// trace describes how the wrong state came about.
func (m *model) trace() string {
	var lines []string
	for i := m.at; i >= 0; i = int(m.from[i]) {
		s := m.states[i]
		who := "peer"
		if t := int(m.by[i]); t < threadCount {
			who = fmt.Sprintf("%s → %v", threadNames[t], s.threads[t].pc)
		}
		lines = append(lines, fmt.Sprintf("%-32s %s %v sent %d read %d buffered %d arming %d edge %v pending %v/%v queued %d", who, s.w.holder(), (s.w&^holderMask).flags(),
			s.sent, s.read, s.buffered, s.arming, s.edge, s.pending, s.pendingGone, s.queued))
	}
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return strings.Join(lines, "\n")
}

// modelConfigs are what can happen to a connection, in groups that are small enough to explore.
var modelConfigs = map[string]modelConfig{
	"data and FIN":             {sends: 3, fin: true, partial: true},
	"short reads":              {sends: 3, fin: true, short: true, sweeps: 1},
	"close":                    {sends: 2, fin: true, closes: 2},
	"drain":                    {sends: 2, fin: true, drains: true, partial: true},
	"drain and close":          {sends: 1, fin: true, drains: true, closes: 1},
	"sweeps":                   {sends: 2, fin: true, sweeps: 2},
	"sweeps, close":            {sends: 1, fin: true, sweeps: 2, closes: 1},
	"sweeps, drain":            {sends: 1, fin: true, sweeps: 2, drains: true},
	"idle":                     {sends: 1, fin: true, sweeps: 1, idles: true, closes: 1},
	"idle, drain":              {sends: 1, idles: true, drains: true},
	"offer":                    {sends: 2, fin: true, sweeps: 1, offers: true},
	"offer, close":             {sends: 1, fin: true, sweeps: 1, offers: true, closes: 1},
	"offer, drain":             {sends: 1, fin: true, sweeps: 1, offers: true, drains: true},
	"pause":                    {sends: 1, fin: true, sweeps: 1, pauses: true, partial: true},
	"pause, close":             {sends: 1, fin: true, pauses: true, closes: 1},
	"pause, drain":             {sends: 1, fin: true, pauses: true, drains: true},
	"pause, offer":             {sends: 1, fin: true, sweeps: 1, pauses: true, offers: true},
	"work":                     {sends: 2, fin: true, works: true},
	"work, close":              {sends: 1, fin: true, works: true, closes: 1},
	"work, drain":              {sends: 1, fin: true, works: true, drains: true},
	"work, pause":              {sends: 1, fin: true, works: true, pauses: true},
	"work, offer":              {sends: 1, fin: true, sweeps: 1, works: true, offers: true},
	"work, idle":               {sends: 1, works: true, idles: true, sweeps: 1},
	"user":                     {sends: 2, fin: true, user: true, uses: 2, sweeps: 2},
	"user, close":              {sends: 1, fin: true, user: true, uses: 2, sweeps: 2, closes: 2, idles: true},
	"user, drain":              {sends: 1, fin: true, user: true, uses: 1, sweeps: 2, drains: true},
	"told user":                {sends: 2, fin: true, user: true, uses: 1, tells: true},
	"told user, close":         {sends: 2, fin: true, user: true, uses: 1, closes: 1, tells: true},
	"told user, drain":         {sends: 1, fin: true, user: true, drains: true, idles: true, tells: true},
	"adopted":                  {sends: 2, fin: true, user: true, adopts: true, sweeps: 2},
	"adopted, close, drain":    {fin: true, user: true, adopts: true, sweeps: 1, closes: 1, drains: true},
	"nothing but an early FIN": {fin: true, sweeps: 1, closes: 1, drains: true},
}

// TestEveryInterleaving: no wake-up is lost, the socket is closed once, the connection torn down
// once, and no callback runs beside or after the close callbacks, however the steps of the poller,
// workers, the sweep, timers, Close, a drain, Resume and EndWork interleave.
func TestEveryInterleaving(t *testing.T) {
	for name, cfg := range modelConfigs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newModel(cfg)
			m.explore()
			if m.broken != "" {
				t.Fatalf("%s, of %d states:\n%s", m.broken, len(m.states), m.trace())
			}
			if m.quiet == 0 {
				t.Error("nothing ever comes to rest")
			}
			t.Logf("%d states, %d of them at rest", len(m.states), m.quiet)
		})
	}
}

// ignoring returns a word.on that ignores ev in the states of h.
func ignoring(ev event, h holder) func(word, event) (word, action) {
	return func(w word, got event) (word, action) {
		if got == ev && w.holder() == h {
			return w, actNone
		}
		return w.on(got)
	}
}

// TestModelFindsMistakes breaks the protocol in plausible ways: for each some interleaving shows
// the mistake.
func TestModelFindsMistakes(t *testing.T) {
	tests := []struct {
		name  string
		in    string // which of modelConfigs
		fault modelFault
		on    func(word, event) (word, action)
	}{
		{"rest does not ask what an arming that stays has told", "data and FIN", faultStayUnnoted, nil},
		{"arming looks for edges only", "data and FIN", faultArmByEdge, nil},
		{"armings are not ordered", "sweeps", faultNoArmingMu, nil},
		{"a closer tears down what somebody holds", "close", faultCloserTears, nil},
		{"a drain does not reach who lingers", "drain", faultNoDrainKick, nil},
		{"a handler that has lost the reading side is not counted", "offer, close", faultUncounted, nil},
		{"Resume comes too early to be heard", "pause", faultResumeForgot, nil},
		{"EndWork wakes nobody", "work, drain", faultCalmForgot, nil},
		{"a kicked wait is not made up for", "sweeps", faultKickedUnread, nil},
		{"the poller's report of data is dropped", "data and FIN", faultNone, ignoring(eventReadable, holderDormant)},
		{"the poller's report of a hang-up is dropped", "data and FIN", faultNone, ignoring(eventHangup, holderDormant)},
		{"an OnReadable that reads nothing is not called again", "told user", faultUnreadKept, nil},
		{"the poller's report of data for a user is dropped", "told user", faultNone, ignoring(eventReadable, holderWatched)},
		{"the watched do not hear of the peer's end", "user", faultNone, ignoring(eventHangup, holderWatched)},
		{"what is reported meanwhile is not noted", "data and FIN", faultNone, ignoring(eventReadable, holderServing)},
		{"Close of a dormant connection does nothing", "close", faultNone, ignoring(eventClose, holderDormant)},
		{"Close of a lingering connection does nothing", "close", faultNone, ignoring(eventClose, holderLingering)},
		{"a drain of a dormant connection does nothing", "drain", faultNone, ignoring(eventDrain, holderDormant)},
		{"the end of work lets a drained connection be", "work, drain", faultNone, ignoring(eventCalm, holderDormant)},
		{"the end of work lets the peer's end be", "work", faultNone, ignoring(eventCalm, holderPaused)},
		{"Resume of a paused connection does nothing", "pause", faultNone, ignoring(eventResumeReading, holderPaused)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg, ok := modelConfigs[tc.in]
			if !ok {
				t.Fatalf("no configuration %q", tc.in)
			}
			cfg.fault, cfg.on = tc.fault, tc.on
			m := newModel(cfg)
			m.explore()
			if m.broken == "" {
				t.Fatalf("nothing found in %d states", len(m.states))
			}
			t.Logf("%s, after %d states", m.broken, len(m.states))
		})
	}
}
