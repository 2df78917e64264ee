//go:build !race

// A single goroutine explores: the race detector would find nothing and take minutes.

package conn

import "fmt"

// pc says what a goroutine of the model does next.
type pc uint8

const (
	pcStart pc = iota
	pcDone

	// a worker
	pcServe
	pcAfterServe
	pcRead
	pcHandle      // the loop of handle
	pcRequest     // OnRequest begins
	pcInRequest   // OnRequest runs
	pcOffered     // it runs without reading and may lose the reading side
	pcReturned    // it has returned
	pcLost        // it has returned after it lost the reading side
	pcAfterHandle // the request left the worker with the connection
	pcSettle
	pcUnstay
	pcLinger
	pcLingering
	pcRest
	pcRestArm
	pcRestPaused
	pcRestPausedArm
	pcEnd
	pcEndHandled
	pcAwaitCalm
	pcEndClose
	pcCloseDrained

	// any goroutine
	pcClose
	pcCloseSocket
	pcRelease
	pcTearForget
	pcTearTell
	pcInDisconnect // OnDisconnect runs
	pcEndAside
	pcTearEnd
	pcFinish

	// the poller
	pcReport

	// the drainer
	pcDrainKick

	// the sweep
	pcSweepLook
	pcTakeBusy
	pcTake
	pcTakeArm
	pcArmAgain
	pcArmAgainArm
	pcWatchHandler
	pcWatchHandlerArm

	// the user of a connection without a handler
	pcBeginRead
	pcUse
	pcUserRead

	pcReadable // OnReadable begins
	pcReadableUse
	pcReadableRead
	pcReadableEnd
	pcReadableReset

	pcWatchUser
	pcWatchUserArm

	// the end of work
	pcEndWork
	pcEndWorkAct
	pcMarkUsed
)

var pcNames = map[pc]string{
	pcStart: "start", pcDone: "done", pcServe: "serve", pcAfterServe: "after serve", pcRead: "read", pcHandle: "handle", pcRequest: "request",
	pcInRequest: "in OnRequest", pcOffered: "in OnRequest, offered", pcReturned: "returned", pcLost: "returned, lost", pcAfterHandle: "after handle",
	pcSettle: "settle", pcUnstay: "unstay", pcLinger: "linger", pcLingering: "lingering", pcRest: "rest", pcRestArm: "rest, arm",
	pcRestPaused: "rest paused", pcRestPausedArm: "rest paused, arm", pcEnd: "end", pcEndHandled: "end, handled", pcAwaitCalm: "await calm",
	pcEndClose: "end, close", pcCloseDrained: "close drained", pcClose: "close", pcCloseSocket: "close socket", pcRelease: "release",
	pcTearForget: "teardown, forget", pcTearTell: "teardown, tell", pcInDisconnect: "in OnDisconnect", pcEndAside: "end aside",
	pcTearEnd: "teardown, end", pcFinish: "finish", pcReport: "report", pcDrainKick: "drain, kick", pcSweepLook: "sweep, look",
	pcTakeBusy: "take, busy", pcTake: "take", pcTakeArm: "take, arm", pcArmAgain: "arm again", pcArmAgainArm: "arm again, arm",
	pcWatchHandler: "watch handler", pcWatchHandlerArm: "watch handler, arm", pcBeginRead: "begin read", pcUse: "use", pcUserRead: "reading",
	pcReadable: "in OnReadable", pcReadableUse: "in OnReadable, use", pcReadableRead: "in OnReadable, reading", pcReadableEnd: "end OnReadable", pcReadableReset: "end OnReadable, use",
	pcWatchUser: "watch user", pcWatchUserArm: "watch user, arm", pcEndWork: "end work", pcEndWorkAct: "end work, act", pcMarkUsed: "mark used",
}

func (p pc) String() string { return pcNames[p] }

// steps collects what may come next.
type steps struct {
	m      *model
	s      modelState // where it starts from
	thread int
	next   []modelState
}

// then adds a state: the one at the start, changed by f.
func (st *steps) then(f func(s *modelState, t *modelThread)) {
	s := st.s
	f(&s, &s.threads[st.thread])
	st.next = append(st.next, s)
}

// goTo is then with only another pc.
func (st *steps) goTo(p pc) { st.then(func(_ *modelState, t *modelThread) { t.pc = p }) }

// transition is Conn.transition.
func (m *model) transition(s *modelState, ev event) action {
	next, act := m.on(s.w, ev)
	s.w = next
	if act&actQueue != 0 {
		s.queued++
		if s.queued > 1 {
			panic("queued twice")
		}
	}
	return act &^ actQueue
}

// step returns what thread may do next.
func (m *model) step(s modelState, thread int) []modelState {
	st := &steps{m: m, s: s, thread: thread}
	p := s.threads[thread].pc
	switch {
	case p == pcDone:
		return nil
	case p == pcStart:
		m.begin(st)
	case p >= pcClose && p <= pcFinish:
		m.ending(st, p)
	case p >= pcServe && p <= pcCloseDrained:
		m.worker(st, p)
	default:
		m.beside(st, p)
	}
	return st.next
}

// begin makes a goroutine's first step, if there is something for it.
func (m *model) begin(st *steps) {
	s := st.s
	switch st.thread {
	case threadWorker1, threadWorker2:
		if s.queued > 0 && (st.thread == threadWorker1 || s.threads[threadWorker1].pc != pcStart) {
			st.then(func(s *modelState, t *modelThread) { s.queued--; *t = modelThread{pc: pcServe} })
		}
	case threadPoller:
		m.collect(st)
	case threadCloser:
		if s.closes > 0 {
			st.then(func(s *modelState, t *modelThread) {
				s.closes--
				s.asked = true
				*t = modelThread{pc: pcClose, ret: pcStart}
			})
		}
	case threadDrainer:
		if m.drains && !s.drained {
			st.then(func(s *modelState, t *modelThread) {
				s.drained = true
				m.drain(s, t)
			})
		}
	case threadIdler:
		if s.idles > 0 {
			st.then(func(s *modelState, t *modelThread) {
				s.idles--
				t.act = m.transition(s, eventIdle)
				*t = modelThread{pc: pcCloseSocket, ret: pcDone, act: t.act}
			})
		}
	case threadSweeper:
		switch {
		case s.sweeps > 0:
			st.then(func(s *modelState, t *modelThread) { s.sweeps--; *t = modelThread{pc: pcSweepLook} })
		case m.tells && s.w.holder() == holderUser && !s.reading && !s.w.has(flagHangup):
			st.then(func(_ *modelState, t *modelThread) { *t = modelThread{pc: pcSweepLook} })
		}
	case threadTask:
		switch {
		case s.disconTo > 0:
			st.then(func(s *modelState, t *modelThread) { s.disconTo--; m.disconnect(s, t, pcStart) })
		case s.readTo > 0:
			st.then(func(s *modelState, t *modelThread) { s.readTo--; *t = modelThread{pc: pcReadable} })
		case s.finishTo > 0:
			st.then(func(s *modelState, t *modelThread) { s.finishTo--; *t = modelThread{pc: pcFinish, ret: pcStart} })
		}
	case threadUser:
		if s.uses > 0 {
			if !s.roleTaken {
				st.then(func(s *modelState, t *modelThread) { s.uses--; s.roleTaken = true; t.pc = pcBeginRead })
			}
		} else if s.adopts > 0 {
			st.then(func(s *modelState, _ *modelThread) { s.adopts--; m.transition(s, eventAdopt) })
		}
	case threadResume:
		if s.resumes > 0 {
			st.then(func(s *modelState, _ *modelThread) {
				s.resumes--
				if m.fault == faultResumeForgot && s.w.holder() != holderPaused {
					return
				}
				m.transition(s, eventResumeReading)
			})
		}
	case threadWork:
		if s.working > 0 {
			st.then(func(s *modelState, t *modelThread) { s.working--; *t = modelThread{pc: pcEndWork, ret: pcStart} })
		}
	}
}

// collect is what the poller learns from the kernel. The poller may report it later than other
// goroutines learn of it.
func (m *model) collect(st *steps) {
	s := st.s
	if s.closed > 0 || s.forgotten {
		return
	}
	readable := s.read < s.sent || s.fin
	fires := false
	switch s.arming {
	case armedOnce:
		fires = readable && (m.fault != faultArmByEdge || s.edge)
	case armedStay:
		fires = s.edge
	case armedHangup:
		fires = s.fin
	}
	if fires {
		st.then(func(s *modelState, t *modelThread) {
			s.pending, s.pendingGone = true, s.fin
			s.edge = false
			if s.arming != armedStay {
				s.arming = armedNot
			}
			t.pc = pcReport
		})
	}
}

// arm makes the kernel report from now on, including what is already there.
func (m *model) arm(s *modelState, a modelArming) {
	if s.w.holder() == holderClosed || s.forgotten {
		return
	}
	s.arming = a
	s.edge = a == armedStay && m.fault != faultArmByEdge && (s.read < s.sent || s.fin)
}

// drain is Conn.drain.
func (m *model) drain(s *modelState, t *modelThread) {
	act := m.transition(s, eventDrain)
	switch {
	case act&actTeardown != 0:
		*t = modelThread{pc: pcCloseSocket, ret: pcDone, act: act}
	case act&actKick != 0 && m.fault != faultNoDrainKick:
		*t = modelThread{pc: pcDrainKick}
	default:
		t.pc = pcDone
	}
}

// disconnect is Conn.disconnect up to the callback.
func (m *model) disconnect(s *modelState, t *modelThread, ret pc) {
	if s.told || s.ended {
		t.pc = ret
		return
	}
	s.told = true
	s.asides++
	t.pc, t.ret = pcInDisconnect, ret
}

// lockArm returns whether thread may take arming.mu, which the steps after it hold.
func (m *model) lockArm(s *modelState, thread int) bool {
	if m.fault == faultNoArmingMu {
		return true
	}
	if s.armingMu != 0 {
		return false
	}
	s.armingMu = uint8(thread + 1)
	return true
}

func (m *model) unlockArm(s *modelState) { s.armingMu = 0 }

// locked adds f as a step if arming.mu is free.
func (st *steps) locked(f func(s *modelState, t *modelThread)) {
	if st.s.armingMu == 0 || st.m.fault == faultNoArmingMu {
		st.then(func(s *modelState, t *modelThread) {
			st.m.lockArm(s, st.thread)
			f(s, t)
		})
	}
}

// ending are the steps of close.go, on whatever goroutine. They go on at ret.
func (m *model) ending(st *steps, p pc) {
	switch p {
	case pcClose:
		st.then(func(s *modelState, t *modelThread) {
			t.act = m.transition(s, eventClose)
			if m.fault == faultCloserTears && t.act&actCloseSocket != 0 {
				t.act |= actTeardown
			}
			t.pc = pcCloseSocket
		})
	case pcCloseSocket:
		st.then(func(s *modelState, t *modelThread) {
			if t.act&actCloseSocket != 0 {
				s.closed++
				s.arming = armedNot
			}
			t.pc = t.ret
			if t.act&actTeardown != 0 {
				t.pc = pcTearForget
			}
		})
	case pcRelease:
		st.then(func(s *modelState, t *modelThread) {
			t.act = m.transition(s, eventRelease)
			t.pc, t.ret = pcTearForget, pcStart
		})
	case pcTearForget:
		st.locked(func(s *modelState, t *modelThread) {
			s.tearDowns++
			s.forgotten = true
			s.arming = armedNot
			m.unlockArm(s)
			t.pc = pcTearTell
		})
	case pcTearTell:
		st.then(func(s *modelState, t *modelThread) {
			if s.w.has(flagHangup) {
				// disconnect goes back to teardown, whose own end is kept in had.
				ret := t.ret
				m.disconnect(s, t, pcTearEnd)
				t.had = uint8(ret)
				return
			}
			t.had, t.pc = uint8(t.ret), pcTearEnd
		})
	case pcInDisconnect:
		st.then(func(s *modelState, t *modelThread) {
			if s.finishes > 0 {
				panic("OnDisconnect runs beside or after the close callbacks")
			}
			t.pc = pcEndAside
		})
	case pcEndAside:
		st.then(func(s *modelState, t *modelThread) { m.endAside(s); t.pc = t.ret })
	case pcTearEnd:
		st.then(func(s *modelState, t *modelThread) {
			s.ended = true
			t.pc = pc(t.had)
			if s.asides == 0 {
				t.pc, t.ret = pcFinish, pc(t.had)
			}
		})
	case pcFinish:
		st.then(func(s *modelState, t *modelThread) {
			s.finishes++
			switch {
			case s.finishes > 1:
				panic("the close callbacks run twice")
			case s.inRequest > 0:
				panic("the close callbacks run beside OnRequest")
			case s.beside > 0 && m.fault != faultUncounted || s.working > 0:
				panic("the close callbacks run beside work")
			case s.beside > 0:
				panic("the close callbacks run beside an OnRequest that nobody counts")
			}
			t.pc = t.ret
		})
	default:
		panic("no such step: " + p.String())
	}
}

// endAside is Conn.endAside.
func (m *model) endAside(s *modelState) {
	if s.asides == 0 {
		panic("an aside ends that has not begun")
	}
	s.asides--
	if s.ended && s.asides == 0 {
		s.finishTo++
	}
}

// beside are the steps of the poller, the drainer, the sweep and the end of work.
func (m *model) beside(st *steps, p pc) {
	switch p {
	case pcReport:
		st.then(func(s *modelState, t *modelThread) {
			gone := s.pendingGone
			s.pending, s.pendingGone = false, false
			t.pc = pcStart
			if !gone {
				if m.transition(s, eventReadable)&actReadable != 0 && m.tells && !s.ended {
					s.asides++
					s.readTo++
				}
				return
			}
			if m.transition(s, eventHangup)&actDisconnect != 0 {
				s.disconTo++
			}
		})
	case pcDrainKick:
		st.then(func(s *modelState, t *modelThread) { s.kick = true; t.pc = pcDone })
	case pcSweepLook:
		st.then(func(s *modelState, t *modelThread) { m.sweepLook(s, t) })
	case pcTakeBusy:
		st.then(func(s *modelState, t *modelThread) {
			if s.ended {
				t.pc = pcStart
				return
			}
			m.beginWork(s)
			t.pc = pcTake
		})
	case pcTake:
		st.locked(func(s *modelState, t *modelThread) {
			queued := s.queued
			t.act = m.transition(s, eventTake)
			if t.act != actNone || s.queued != queued {
				s.inRequest--
				s.beside++
			}
			t.had = s.queued - queued
			t.pc = pcTakeArm
		})
	case pcTakeArm:
		m.takeArm(st)
	case pcArmAgain:
		st.locked(func(s *modelState, t *modelThread) {
			if s.w.holder() == holderDormant && s.w.isOpen() {
				s.staying = false
				t.pc = pcArmAgainArm
				return
			}
			m.unlockArm(s)
			t.pc = pcStart
		})
	case pcArmAgainArm:
		st.then(func(s *modelState, t *modelThread) { m.arm(s, armedOnce); m.unlockArm(s); t.pc = pcStart })
	case pcWatchHandler:
		st.locked(func(s *modelState, t *modelThread) {
			if !s.staying && s.w.holder() == holderHandling && s.w.isOpen() && !s.w.has(flagHangup) {
				t.pc = pcWatchHandlerArm
				return
			}
			m.unlockArm(s)
			t.pc = pcStart
		})
	case pcWatchHandlerArm:
		st.then(func(s *modelState, t *modelThread) { m.arm(s, armedHangup); m.unlockArm(s); t.pc = pcStart })
	case pcBeginRead, pcUse, pcUserRead:
		m.userReads(st, p)
	case pcReadable, pcReadableUse, pcReadableRead, pcReadableEnd, pcReadableReset:
		m.onReadable(st, p)
	case pcWatchUser:
		st.locked(func(s *modelState, t *modelThread) {
			m.transition(s, eventWatch)
			t.pc = pcWatchUserArm
			if s.w.holder() != holderWatched {
				m.unlockArm(s)
				t.pc = pcStart
			}
		})
	case pcWatchUserArm:
		st.then(func(s *modelState, t *modelThread) {
			m.arm(s, armedOnce)
			if s.w.has(flagUnread) {
				m.arm(s, armedHangup)
			}
			m.unlockArm(s)
			t.pc = pcStart
		})
	case pcEndWork, pcEndWorkAct, pcMarkUsed:
		m.endWork(st, p)
	default:
		panic(fmt.Sprintf("no such step: %v", p))
	}
}

// sweepLook is Conn.sweep's look at the state.
func (m *model) sweepLook(s *modelState, t *modelThread) {
	t.pc = pcStart
	if s.w.has(flagOffered) {
		t.pc = pcTakeBusy
		if m.fault == faultUncounted {
			s.w |= flagBusy // so that only the count is missing
			t.pc = pcTake
		}
		return
	}
	switch s.w.holder() {
	case holderUser:
		if !s.reading {
			t.pc = pcWatchUser
		}
	case holderDormant:
		if s.staying {
			t.pc = pcArmAgain
		}
	case holderLingering:
		s.kick = true
	case holderHandling:
		if s.w.has(flagHangup) {
			s.disconTo++
			return
		}
		t.pc = pcWatchHandler
	}
}

// takeArm is what Conn.take does after the change of state.
func (m *model) takeArm(st *steps) {
	st.then(func(s *modelState, t *modelThread) {
		act, queued := t.act, t.had > 0
		switch {
		case act&actArm != 0:
			s.staying = false
			m.arm(s, armedOnce)
		case act&actWatch != 0:
			m.armPaused(s)
		}
		m.unlockArm(s)
		t.pc = pcStart
		if act == actNone && !queued && m.fault != faultUncounted {
			t.pc, t.ret = pcEndWork, pcStart
		}
	})
	if st.s.threads[st.thread].act&actArm != 0 { // a crowd
		st.then(func(s *modelState, t *modelThread) {
			s.staying = true
			m.arm(s, armedStay)
			m.unlockArm(s)
			t.pc = pcStart
		})
	}
}

// armPaused is Conn.armPausedLocked.
func (m *model) armPaused(s *modelState) {
	if !s.staying && !s.w.has(flagHangup) {
		m.arm(s, armedHangup)
	}
}

// beginWork is what BeginWork does after it has found the connection not ended.
func (m *model) beginWork(s *modelState) {
	s.asides++
	if s.works++; s.works == 1 {
		m.transition(s, eventBusy)
	}
}

// endWork are the steps of EndWork.
func (m *model) endWork(st *steps, p pc) {
	switch p {
	case pcEndWork:
		st.then(func(s *modelState, t *modelThread) {
			if s.works == 0 {
				panic("EndWork without BeginWork")
			}
			s.works--
			t.act = actNone
			if s.works == 0 && m.fault == faultCalmForgot {
				s.w &^= flagBusy
			} else if s.works == 0 {
				t.act = m.transition(s, eventCalm)
			}
			t.pc = pcEndWorkAct
		})
	case pcEndWorkAct:
		st.then(func(s *modelState, t *modelThread) {
			s.kick = s.kick || t.act&actKick != 0
			t.pc = pcMarkUsed
		})
	default:
		st.then(func(s *modelState, t *modelThread) { m.endAside(s); t.pc = t.ret })
	}
}

// worker are the steps of serve.go.
func (m *model) worker(st *steps, p pc) {
	switch p {
	case pcServe:
		st.then(func(s *modelState, t *modelThread) {
			m.transition(s, eventServe)
			t.pc = pcAfterServe
		})
	case pcAfterServe:
		st.then(func(s *modelState, t *modelThread) {
			switch {
			case !s.w.isOpen():
				t.pc = pcRelease
			case s.buffered > 0 && !s.seen:
				t.pc, t.ret = pcHandle, pcRead
			default:
				t.pc = pcRead
			}
		})
	case pcRead:
		m.tryRead(st)
	case pcHandle, pcRequest, pcInRequest, pcOffered, pcReturned, pcLost, pcAfterHandle:
		m.handling(st, p)
	case pcSettle:
		st.then(func(s *modelState, t *modelThread) {
			t.pc = pcRest
			if s.w.has(flagHangup) {
				t.pc = pcRead
			}
		})
		if !st.s.w.has(flagHangup) {
			st.goTo(pcUnstay)                             // to linger
			st.then(func(s *modelState, t *modelThread) { // its budget is over
				t.pc = pcStart
				if m.transition(s, eventRequeue)&actTeardown != 0 {
					t.pc, t.ret = pcTearForget, pcStart
				}
			})
		}
	case pcUnstay, pcLinger, pcLingering:
		m.lingering(st, p)
	case pcRest, pcRestArm, pcRestPaused, pcRestPausedArm:
		m.resting(st, p)
	case pcEnd, pcEndHandled, pcAwaitCalm, pcEndClose, pcCloseDrained:
		m.peersEnd(st, p)
	}
}

// tryRead is one read without waiting, and its consequences.
func (m *model) tryRead(st *steps) {
	s := st.s
	switch {
	case s.closed > 0:
		st.then(func(_ *modelState, t *modelThread) { t.pc, t.eof = pcEnd, false })
	case s.read < s.sent:
		for n := s.sent - s.read; n > 0; n-- {
			st.then(func(s *modelState, t *modelThread) { m.took(s, t, n) })
			if !m.short {
				break
			}
		}
	case s.fin:
		st.then(func(_ *modelState, t *modelThread) { t.pc, t.eof = pcEnd, true })
	default:
		st.then(func(s *modelState, t *modelThread) {
			t.pc = pcSettle
			if m.isDrained(s) {
				t.pc = pcCloseDrained
			}
		})
	}
}

// took is the consequence of a read of n units. The edge of units it has taken may still be
// reported.
func (m *model) took(s *modelState, t *modelThread, n uint8) {
	s.read += n
	s.buffered += n
	s.seen = false
	t.pc, t.ret = pcHandle, pcSettle
}

// isDrained is Conn.drained.
func (m *model) isDrained(s *modelState) bool {
	return s.w.has(flagDraining) && !s.w.has(flagBusy) && s.buffered == 0
}

// handling are the steps of handle and request.
func (m *model) handling(st *steps, p pc) {
	switch p {
	case pcHandle:
		st.then(func(s *modelState, t *modelThread) {
			t.pc = t.ret
			if s.buffered > 0 {
				t.pc = pcRequest
			}
		})
	case pcRequest:
		st.then(func(s *modelState, t *modelThread) {
			m.transition(s, eventHandle)
			t.pc, t.turn, t.had, t.pause = pcInRequest, uint8(s.w.turn()), s.buffered, false
			s.inRequest++
			switch {
			case s.inRequest > 1:
				panic("two OnRequests hold the reading side")
			case s.finishes > 0:
				panic("OnRequest after the close callbacks")
			}
		})
	case pcInRequest:
		m.inRequest(st)
	case pcOffered, pcReturned, pcLost:
		m.returned(st, p)
	case pcAfterHandle:
		st.then(func(s *modelState, t *modelThread) {
			switch {
			case !s.w.isOpen():
				t.pc = pcRelease
			case t.pause:
				t.pc = pcRestPaused
			case s.buffered == t.had:
				t.pc = t.ret // it needs more than has come
			default:
				t.pc = pcHandle
			}
		})
	}
}

// inRequest is what OnRequest may do: take all or nothing, and begin work, pause and offer
// the reading side, in any combination.
func (m *model) inRequest(st *steps) {
	takes := []uint8{st.s.buffered}
	if m.partial {
		takes = append(takes, 0)
	}
	yesNo := func(may bool) []bool {
		if may {
			return []bool{false, true}
		}
		return []bool{false}
	}
	for _, n := range takes {
		for _, works := range yesNo(st.s.workings > 0 && !st.s.ended) {
			for _, pauses := range yesNo(st.s.pauses > 0) {
				for _, offers := range yesNo(st.s.offers > 0) {
					st.then(func(s *modelState, t *modelThread) { m.leaveRequest(s, t, n, works, pauses, offers) })
				}
			}
		}
	}
}

func (m *model) leaveRequest(s *modelState, t *modelThread, takes uint8, works, pauses, offers bool) {
	s.buffered -= takes
	s.seen = s.buffered > 0 && !pauses
	t.pc, t.pause = pcReturned, pauses
	if works {
		s.workings--
		s.working++
		m.beginWork(s)
	}
	if pauses {
		s.pauses--
		s.resumes++
		m.transition(s, eventPause)
	}
	if offers {
		s.offers--
		m.transition(s, eventOffer)
		t.pc = pcOffered
	}
}

// returned is what happens when OnRequest returns.
func (m *model) returned(st *steps, p pc) {
	switch p {
	case pcOffered:
		st.goTo(pcReturned)
	case pcReturned:
		st.then(func(s *modelState, t *modelThread) {
			if uint8(s.w.turn()) != t.turn {
				t.pc = pcLost
				return
			}
			m.transition(s, eventHandled)
			s.inRequest--
			t.pc = pcAfterHandle
		})
	case pcLost:
		st.then(func(s *modelState, t *modelThread) {
			s.beside--
			*t = modelThread{pc: pcEndWork, ret: pcStart}
			if m.fault == faultUncounted {
				t.pc = pcStart
			}
		})
	}
}

// lingering are the steps of receiveLingering.
func (m *model) lingering(st *steps, p pc) {
	s := st.s
	switch p {
	case pcUnstay:
		if !s.staying {
			st.goTo(pcLinger)
			return
		}
		st.locked(func(s *modelState, t *modelThread) {
			s.staying = false
			s.arming = armedNot
			m.unlockArm(s)
			t.pc = pcLinger
		})
	case pcLinger:
		st.then(func(s *modelState, t *modelThread) {
			ev := eventLinger
			if s.buffered > 0 {
				ev = eventLingerPartial
			}
			t.pc = pcLingering
			if m.transition(s, ev)&actKick != 0 {
				m.kicked(s, t)
			}
		})
	case pcLingering:
		wake := func(f func(s *modelState, t *modelThread)) {
			st.then(func(s *modelState, t *modelThread) { m.transition(s, eventResume); f(s, t) })
		}
		switch {
		case s.closed > 0:
			wake(func(_ *modelState, t *modelThread) { t.pc, t.eof = pcEnd, false })
		case s.read < s.sent:
			wake(func(s *modelState, t *modelThread) { m.took(s, t, s.sent-s.read) })
		case s.fin:
			wake(func(_ *modelState, t *modelThread) { t.pc, t.eof = pcEnd, true })
		}
		if s.kick {
			wake(func(s *modelState, t *modelThread) { s.kick = false; m.kicked(s, t) })
		}
	}
}

// kicked is settleKicked. As there, it looks without arming.mu whether an arming stays.
func (m *model) kicked(s *modelState, t *modelThread) {
	t.pc = pcRest
	if s.staying && m.fault != faultKickedUnread {
		t.pc = pcRead
	}
}

// resting are the steps of rest and restPaused.
func (m *model) resting(st *steps, p pc) {
	switch p {
	case pcRest:
		st.locked(func(s *modelState, t *modelThread) {
			ev := eventRest
			if s.buffered > 0 {
				ev = eventRestPartial
			}
			if m.fault == faultStayUnnoted {
				s.w &^= flagMore
			}
			act := m.transition(s, ev)
			switch {
			case act&actKick != 0:
				m.unlockArm(s)
				t.pc = pcRead
			case act&actTeardown != 0:
				m.unlockArm(s)
				t.pc, t.ret = pcTearForget, pcStart
			default:
				t.pc = pcRestArm
			}
		})
	case pcRestArm:
		for _, a := range []modelArming{armedOnce, armedStay} {
			st.then(func(s *modelState, t *modelThread) {
				if !s.staying {
					s.staying = a == armedStay
					m.arm(s, a)
				}
				m.unlockArm(s)
				t.pc = pcStart
			})
		}
	case pcRestPaused:
		st.locked(func(s *modelState, t *modelThread) {
			act := m.transition(s, eventRestPaused)
			switch {
			case act&actWatch != 0:
				t.pc = pcRestPausedArm
			case act&actTeardown != 0:
				m.unlockArm(s)
				t.pc, t.ret = pcTearForget, pcStart
			default:
				m.unlockArm(s)
				t.pc = pcHandle
			}
		})
	case pcRestPausedArm:
		st.then(func(s *modelState, t *modelThread) { m.armPaused(s); m.unlockArm(s); t.pc = pcStart })
	}
}

// peersEnd are the steps of end and closeDrained.
func (m *model) peersEnd(st *steps, p pc) {
	switch p {
	case pcEnd:
		st.then(func(s *modelState, t *modelThread) {
			if !s.w.isOpen() {
				t.pc = pcEndClose
				return
			}
			if m.transition(s, eventHangup)&actDisconnect != 0 {
				s.disconTo++
			}
			t.pc, t.ret = pcHandle, pcEndHandled
		})
	case pcEndHandled:
		st.then(func(s *modelState, t *modelThread) {
			t.pc = pcAwaitCalm
			m.disconnect(s, t, pcAwaitCalm)
		})
	case pcAwaitCalm:
		st.then(func(s *modelState, t *modelThread) {
			t.pc = pcEndClose
			if !t.eof {
				return
			}
			act := m.transition(s, eventAwaitCalm)
			switch {
			case act&actTeardown != 0:
				t.pc, t.ret = pcTearForget, pcStart
			case act&actKick == 0:
				t.pc = pcStart
			}
		})
	case pcEndClose, pcCloseDrained:
		st.then(func(_ *modelState, t *modelThread) { t.pc, t.ret = pcClose, pcRelease })
	}
}

// userReads are the steps of a read by the user of a connection without a handler.
func (m *model) userReads(st *steps, p pc) {
	s := st.s
	switch p {
	case pcBeginRead:
		st.then(func(s *modelState, t *modelThread) {
			switch {
			case !s.w.isOpen():
				t.pc, s.roleTaken = pcStart, false
			case s.w.holder() == holderWatched || s.w.has(flagUnread):
				t.pc = pcUse
			default:
				t.pc, s.reading = pcUserRead, true
			}
		})
	case pcUse:
		st.locked(func(s *modelState, t *modelThread) {
			m.use(s)
			t.pc, s.reading = pcUserRead, true
		})
	case pcUserRead:
		over := func(f func(s *modelState)) {
			st.then(func(s *modelState, t *modelThread) { f(s); s.reading, s.roleTaken = false, false; t.pc = pcStart })
		}
		switch {
		case s.closed > 0:
			over(func(*modelState) {})
		case s.read < s.sent:
			over(func(s *modelState) { s.read = s.sent })
		case s.fin:
			over(func(s *modelState) {
				if m.transition(s, eventHangup)&actDisconnect != 0 {
					s.disconTo++
				}
			})
		}
	}
}

// onReadable are the steps of an OnReadable that reads what has come, unless another goroutine
// reads.
func (m *model) onReadable(st *steps, p pc) {
	switch p {
	case pcReadable:
		st.then(func(s *modelState, t *modelThread) {
			switch {
			case s.roleTaken || !s.w.isOpen():
				t.pc = pcReadableEnd
				return
			case s.w.holder() == holderWatched || s.w.has(flagUnread):
				t.pc = pcReadableUse
			default:
				t.pc, s.reading = pcReadableRead, true
			}
			s.roleTaken = true
		})
	case pcReadableUse:
		st.locked(func(s *modelState, t *modelThread) {
			m.use(s)
			t.pc, s.reading = pcReadableRead, true
		})
	case pcReadableRead:
		st.then(func(s *modelState, t *modelThread) {
			switch {
			case s.closed > 0:
			case s.read < s.sent:
				s.read = s.sent
			case s.fin:
				if m.transition(s, eventHangup)&actDisconnect != 0 {
					s.disconTo++
				}
			}
			s.reading, s.roleTaken = false, false
			t.pc = pcReadableEnd
		})
	case pcReadableEnd:
		st.then(func(s *modelState, t *modelThread) {
			t.pc, t.ret = pcEndAside, pcStart
			if s.w.has(flagUnread) && m.fault != faultUnreadKept {
				t.pc = pcReadableReset
			}
		})
	case pcReadableReset:
		st.locked(func(s *modelState, t *modelThread) {
			m.use(s)
			t.pc, t.ret = pcEndAside, pcStart
		})
	}
}

// use is Conn.use; it needs arming.mu and unlocks it.
func (m *model) use(s *modelState) {
	if m.transition(s, eventUse)&actDisarm != 0 {
		s.arming = armedNot
	}
	m.unlockArm(s)
}
