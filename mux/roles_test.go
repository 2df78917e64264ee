package mux

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// rolesModel is a connection, its peer and its callers, as far as the reading role goes:
// each step is what one of them does with the lock held, or one message on a channel.
type rolesModel struct {
	roles   roles
	calls   []*Call
	callers []callerModel
	replies []int // what has come and was not read yet
	asked   []int // calls that the peer must still answer
	dead    bool  // the connection was closed
	died    bool  // and its reader, or the closer, has failed the calls
	watcher int   // 0: none, 1: about to read
	polled  bool  // a poller reports what comes: the watcher does not wait
	armed   bool  // the poller reports replies, once
	arming  bool  // a caller is about to have the poller watch
	unread  bool  // it has reported something, and nothing was read since: it would not report again
	looks   int   // workers that it has told, and that have not looked
	tails   bool  // a worker has looked, and not looked whether something is left unread
	kicked  bool  // the leader was kicked, and has not looked up
	hungUp  bool  // it has reported the end
}

// callerModel is one caller.
type callerModel struct {
	at     stage
	tokens int  // wake-ups sent and not received
	over   bool // its time is over
	result callState
}

// stage is what a caller does next.
type stage uint8

const (
	stageArrive stage = iota // await, first half
	stageParked              // waits for a token or the end of its time
	stageLimit               // is about to set the read deadline, which undoes a kick
	stageAllow               // is about to allow a recall
	stageLead                // reads, and waits for more
	stageGlance              // reads what has come
	stageBack                // has found nothing
	stageDepart
	stageGone
)

func newRolesModel(n int, polled bool) *rolesModel {
	m := &rolesModel{callers: make([]callerModel, n), polled: polled, armed: polled}
	for i := range n {
		m.calls = append(m.calls, new(Call))
		m.asked = append(m.asked, i)
	}
	return m
}

// index returns the caller of c.
func (m *rolesModel) index(c *Call) int {
	for i, other := range m.calls {
		if c == other {
			return i
		}
	}
	panic("unknown call")
}

func (m *rolesModel) wake(c *Call) {
	if c != nil {
		m.callers[m.index(c)].tokens++
	}
}

// deliver is answer.
func (m *rolesModel) deliver(i int) {
	if c := m.calls[i]; !c.state.isFinal() {
		if m.roles.settle(c, callAnswered) {
			m.wake(c)
		}
	}
}

// fail is clientConn.fail.
func (m *rolesModel) fail() {
	if m.died {
		return
	}
	m.died = true
	for _, c := range m.calls {
		if !c.state.isFinal() && m.roles.settle(c, callFailed) {
			m.wake(c)
		}
	}
}

// read is one turn of a reader; it reports false if it has nothing to read and waits.
func (m *rolesModel) read() bool {
	switch {
	case m.dead:
		m.fail()
	case len(m.replies) > 0:
		i := m.replies[0]
		m.replies = m.replies[1:]
		m.deliver(i)
		m.use()
	default:
		return false
	}
	return true
}

// use is what any read does, even of nothing.
func (m *rolesModel) use() { m.armed, m.unread = false, false }

// step is something that can happen, to caller i if its name is a caller's.
type step struct {
	name string
	i    int
	do   func()
}

func (s step) String() string { return fmt.Sprintf("%s (%d)", s.name, s.i) }

// steps returns what can happen next.
func (m *rolesModel) steps() (all []step) {
	add := func(name string, i int, f func()) { all = append(all, step{name, i, f}) }
	for i := range m.callers {
		caller, c := &m.callers[i], m.calls[i]
		if !caller.over && caller.at != stageGone {
			add("time is over", i, func() { caller.over = true })
		}
		switch caller.at {
		case stageArrive:
			add("arrives", i, func() { m.arrive(i, false) })
			if m.polled {
				add("arrives where processors are busy", i, func() { m.arrive(i, true) })
			}
		case stageParked:
			if caller.tokens > 0 {
				add("wakes up", i, func() { caller.tokens--; caller.next(c.state) })
			}
			if caller.over {
				add("gives up", i, func() { m.giveUp(i) })
			}
		case stageLead:
			switch {
			case c.state.isFinal() || caller.over:
				add("stops reading", i, func() { caller.at = stageDepart })
			case m.dead || len(m.replies) > 0:
				add("reads", i, func() { m.read() })
			}
			if m.polled {
				add("finds the processors busy", i, func() { caller.at = stageGlance })
			}
			if m.kicked {
				add("looks up", i, func() { caller.at = stageLimit })
			}
		case stageLimit:
			add("sets the deadline", i, func() { m.kicked, caller.at = false, stageAllow })
		case stageAllow:
			add("allows a recall", i, func() { m.roles.mayWait, caller.at = true, stageLead })
		case stageGlance:
			add("glances", i, func() { m.glance(i) })
		case stageBack:
			add("steps back", i, func() { m.stepBack(i) })
		case stageDepart:
			add("departs", i, func() {
				m.handOn(m.roles.depart(c))
				caller.at, caller.result = stageGone, c.state
			})
		}
	}
	if len(m.asked) > 0 && !m.dead {
		add("reply", -1, func() { m.replies, m.asked = append(m.replies, m.asked[0]), m.asked[1:] })
	}
	if !m.dead {
		add("close", -1, func() { m.dead = true })
	}
	m.watcherSteps(add)
	return all
}

// arrive is the first half of await.
func (m *rolesModel) arrive(i int, glances bool) {
	state, recall := m.roles.arrive(m.calls[i], glances)
	m.callers[i].next(state)
	m.kicked = m.kicked || recall
}

// glance is one turn of clientConn.glance.
func (m *rolesModel) glance(i int) {
	caller, c := &m.callers[i], m.calls[i]
	m.use()
	m.roles.mayWait = false
	switch {
	case c.state.isFinal():
		caller.at = stageDepart
	case !m.read():
		caller.at = stageBack
	}
}

func (m *rolesModel) stepBack(i int) {
	caller, c := &m.callers[i], m.calls[i]
	if c.state.isFinal() {
		caller.at = stageDepart
		return
	}
	if !m.roles.stepBack(c) {
		caller.at = stageGlance
		return
	}
	caller.at, m.arming = stageParked, true
}

// handOn is clientConn.handOn.
func (m *rolesModel) handOn(next *Call, do errand) {
	if next != nil && m.roles.glances {
		panic("a caller was woken to read where leaders only glance")
	}
	m.wake(next)
	if do == errandLook {
		m.watcher = 1
	}
	m.arming = m.arming || do == errandWatch
}

func (m *rolesModel) watcherSteps(add func(string, int, func())) {
	if m.polled {
		m.pollerSteps(add)
		return
	}
	if m.watcher == 0 && !m.died && m.roles.leader == nil && !m.roles.watched {
		add("watch", -1, func() {
			if m.roles.watch() {
				m.watcher = 1
			}
		})
	}
	if m.watcher == 1 && (m.dead || len(m.replies) > 0) {
		add("watcher reads", -1, func() {
			m.read()
			m.watcher = 0
			m.handOn(m.roles.unwatch())
		})
	}
}

// isWaitingLeader reports whether the leader waits for bytes.
func (m *rolesModel) isWaitingLeader() bool {
	leader := m.roles.leader
	return leader != nil && m.callers[m.index(leader)].at == stageLead
}

// pollerSteps are those of a poller, of the workers that it tells, and of the watcher. A hang-up is
// reported once, and replies once until something was read.
func (m *rolesModel) pollerSteps(add func(string, int, func())) {
	look := func() {
		if !m.died && m.roles.report() {
			m.watcher = 1
		}
	}
	if m.dead && !m.hungUp {
		add("poller tells of the end", -1, func() { m.hungUp = true; m.looks++ })
	}
	if m.armed && len(m.replies) > 0 && !m.dead && m.looks == 0 {
		add("poller tells of a reply", -1, func() { m.armed, m.unread = false, true; m.looks++ })
	}
	if m.looks > 0 {
		add("worker looks", -1, func() { m.looks--; m.tails = true; look() })
	}
	if m.tails {
		add("worker looks for what is left", -1, func() {
			m.tails = false
			if m.unread {
				m.use()
			}
		})
	}
	if m.arming {
		add("caller has the poller watch", -1, func() {
			m.arming, m.armed = false, m.armed || !m.isWaitingLeader() && !m.unread
			if m.hungUp {
				look()
			}
		})
	}
	if !m.armed && !m.unread && m.roles.leader == nil && !m.roles.watched {
		add("sweep has the poller watch", -1, func() { m.armed = true })
	}
	if m.watcher == 1 {
		add("watcher reads", -1, func() {
			m.use()
			if m.read() && !m.died && (m.roles.waiting.last == nil || m.roles.glances) {
				return
			}
			m.watcher = 0
			m.handOn(m.roles.unwatch())
		})
	}
}

// next is where await goes on for a call in state s.
func (c *callerModel) next(s callState) {
	switch s {
	case callWaiting:
		c.at = stageParked
	case callLeading:
		c.at = stageLimit
	default:
		c.at = stageDepart
	}
}

// giveUp is expire: a wake-up that is on its way is taken.
func (m *rolesModel) giveUp(i int) {
	caller, c := &m.callers[i], m.calls[i]
	if c.state == callWaiting {
		m.roles.unpark(c)
	} else {
		if caller.tokens == 0 {
			panic("a parked call was settled without a wake-up")
		}
		caller.tokens--
	}
	caller.at = stageDepart
}

// check returns what is wrong with the model's state, "" if nothing is.
func (m *rolesModel) check() string {
	leaders, waiting := 0, 0
	for i, c := range m.calls {
		caller := m.callers[i]
		switch {
		case caller.tokens > 1:
			return fmt.Sprintf("%d has %d wake-ups", i, caller.tokens)
		case caller.at == stageGone && caller.tokens > 0:
			return fmt.Sprintf("%d has gone and is woken", i)
		case caller.at == stageParked && c.state != callWaiting && caller.tokens == 0:
			return fmt.Sprintf("%d is %v, parked, and will not be woken", i, c.state)
		case caller.at == stageGone && m.roles.leader == c:
			return fmt.Sprintf("%d has gone with the role", i)
		}
		if m.roles.leader == c {
			leaders++
		}
		if c.state == callWaiting {
			waiting++
		}
	}
	if waiting > 0 && leaders == 0 && !m.roles.watched && !m.armed && !m.arming && m.looks == 0 {
		return "a caller waits, nobody reads, and the poller does not watch"
	}
	if m.isWaitingLeader() && !m.roles.mayWait && !m.kicked {
		return "a leader waits on although it was recalled"
	}
	if m.roles.watched != (m.watcher == 1) {
		return "the watcher and the roles differ"
	}
	return ""
}

// end checks a state in which nothing more can happen.
func (m *rolesModel) end() string {
	for i := range m.callers {
		if m.callers[i].at != stageGone {
			return fmt.Sprintf("caller %d is stuck", i)
		}
	}
	if m.roles.leader != nil || m.roles.watched || m.roles.waiting.first != nil {
		return "the role, or the list, was left behind"
	}
	if !m.died {
		return "the connection's end was not noticed"
	}
	return ""
}

// key identifies a state.
func (m *rolesModel) key() string {
	flag := func(b bool) byte {
		if b {
			return 'y'
		}
		return 'n'
	}
	var k []byte
	for i, c := range m.callers {
		k = append(k, byte(c.at), byte(c.tokens), flag(c.over), byte(c.result), byte(m.calls[i].state))
	}
	for _, i := range m.replies {
		k = append(k, 'r', byte(i))
	}
	for _, i := range m.asked {
		k = append(k, 'a', byte(i))
	}
	for c := m.roles.waiting.first; c != nil; c = c.next {
		k = append(k, 'w', byte(m.index(c)))
	}
	if m.roles.leader != nil {
		k = append(k, 'l', byte(m.index(m.roles.leader)))
	}
	return string(append(k, flag(m.dead), flag(m.died), byte(m.watcher), flag(m.armed), flag(m.arming), flag(m.unread), byte(m.looks), flag(m.tails), flag(m.kicked), flag(m.hungUp),
		flag(m.roles.told), flag(m.roles.glances), flag(m.roles.mayWait)))
}

// clone returns a copy that shares nothing with m.
func (m *rolesModel) clone() *rolesModel {
	c := &rolesModel{
		callers: slices.Clone(m.callers), replies: slices.Clone(m.replies), asked: slices.Clone(m.asked),
		dead: m.dead, died: m.died, watcher: m.watcher, polled: m.polled, armed: m.armed, arming: m.arming, unread: m.unread, looks: m.looks, tails: m.tails, kicked: m.kicked, hungUp: m.hungUp,
	}
	for _, call := range m.calls {
		c.calls = append(c.calls, &Call{state: call.state})
	}
	for w := m.roles.waiting.first; w != nil; w = w.next {
		c.roles.waiting.push(c.calls[m.index(w)])
	}
	if m.roles.leader != nil {
		c.roles.leader = c.calls[m.index(m.roles.leader)]
	}
	c.roles.watched, c.roles.told = m.roles.watched, m.roles.told
	c.roles.glances, c.roles.mayWait = m.roles.glances, m.roles.mayWait
	return c
}

// reached is a state and how it came about.
type reached struct {
	model *rolesModel
	from  *reached
	by    step
}

func (r *reached) trace() string {
	if r.from == nil {
		return ""
	}
	return r.from.trace() + "\n" + r.by.String()
}

// TestRolesExhaustive goes through every state that three callers (two where there is a poller),
// their replies, the ends of their times, the watcher, or a poller and the watcher that it calls,
// and the connection's death can bring about. Whenever a caller waits somebody reads, or the poller
// watches; every parked caller is woken once, all return, and the end is noticed although the
// poller reports it once.
func TestRolesExhaustive(t *testing.T) {
	t.Run("watcher", func(t *testing.T) { exploreRoles(t, 3, false, 10_000) })
	t.Run("poller", func(t *testing.T) { exploreRoles(t, 2, true, 2000) })
}

func exploreRoles(t *testing.T, callers int, polled bool, least int) {
	t.Helper()
	seen := map[string]bool{}
	todo := []*reached{{model: newRolesModel(callers, polled)}}
	for len(todo) > 0 {
		r := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		steps := r.model.steps()
		if len(steps) == 0 {
			if bad := r.model.end(); bad != "" {
				t.Fatalf("%s, after %s", bad, r.trace())
			}
		}
		for i := range steps {
			next := &reached{model: r.model.clone(), from: r, by: steps[i]}
			next.model.steps()[i].do()
			if bad := next.model.check(); bad != "" {
				t.Fatalf("%s, after %s", bad, next.trace())
			}
			if k := next.model.key(); !seen[k] {
				seen[k] = true
				todo = append(todo, next)
			}
		}
	}
	t.Logf("%d states", len(seen))
	if len(seen) < least {
		t.Errorf("only %d states: the model is not what it was", len(seen))
	}
}

// TestRolesRandom goes through long schedules of more callers, without deaths and without times
// that end: every call must be answered.
func TestRolesRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 2000 {
		m := newRolesModel(6, n%2 == 0)
		rnd.Shuffle(len(m.asked), func(i, j int) { m.asked[i], m.asked[j] = m.asked[j], m.asked[i] })
		var trace []step
		for {
			var useful []step
			for _, s := range m.steps() {
				if s.name != "close" && s.name != "time is over" && s.name != "watch" || s.name == "watch" && rnd.IntN(4) == 0 {
					useful = append(useful, s)
				}
			}
			if len(useful) == 0 {
				break
			}
			s := useful[rnd.IntN(len(useful))]
			s.do()
			trace = append(trace, s)
			if bad := m.check(); bad != "" {
				t.Fatalf("%s, after %v", bad, trace)
			}
		}
		for i := range m.callers {
			if m.callers[i].at != stageGone || m.callers[i].result != callAnswered {
				t.Fatalf("caller %d ended in stage %d, %v, after %v", i, m.callers[i].at, m.callers[i].result, trace)
			}
		}
	}
}

func TestUnwatchPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	new(roles).unwatch()
}
