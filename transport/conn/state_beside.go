package conn

// This file is the part of the state machine that concerns handlers that go on without the reading
// side, and work beside the callbacks.

// onHandler handles what OnRequest and the worker that called it raise, in the
// holder that holderSteps names.
func (w word) onHandler(ev event) (word, action) {
	switch ev {
	case eventHandle:
		return w.to(holderHandling) &^ flagPaused, actNone
	case eventHandled:
		return w.to(holderServing) &^ flagOffered, actNone
	case eventOffer:
		return w | flagOffered, actNone
	case eventPause:
		return w | flagPaused, actNone
	case eventRestPaused:
		if w.has(flagPaused) {
			return w.to(holderPaused), actWatch
		}
	case eventAwaitCalm:
		if w.has(flagBusy) {
			return w.to(holderPaused), actNone
		}
	}
	return w, actKick
}

// onBeside handles what goroutines other than the holder raise about handlers and work.
func (w word) onBeside(ev event) (word, action) {
	switch {
	case w.holder() == holderClosed:
		return w, actNone
	case ev == eventBusy:
		return w | flagBusy, actNone
	case ev == eventCalm:
		return w.onCalm()
	case ev == eventResumeReading:
		return w.onResumeReading()
	case w.holder() != holderHandling || !w.has(flagOffered) || w.has(flagClosing):
		return w, actNone // OnRequest has returned, or ends the connection when it does
	}
	return w.onTake(ev)
}

// onTake takes the reading side from a handler. The poller gets the connection, or a worker if
// there is no poller or something came meanwhile. A paused connection rests.
func (w word) onTake(ev event) (word, action) {
	if !w.has(flagBusy) {
		panic("conn: BUG: reading side taken from a handler that nobody counts")
	}
	next := w&^flagOffered + oneTurn
	switch {
	case w.has(flagPaused):
		return next.to(holderPaused), actWatch
	case ev == eventTakeUnwatched, w.has(flagMore):
		return next.to(holderReady), actQueue
	}
	return next.to(holderDormant), actArm
}

// onResumeReading gives a paused connection to a worker. One that is not at rest
// yet is marked, so that its holder has OnRequest called again.
func (w word) onResumeReading() (word, action) {
	switch w.holder() {
	case holderPaused:
		return w.to(holderReady) &^ flagPaused, actQueue
	case holderServing, holderHandling:
		if w.has(flagPaused) {
			return w&^flagPaused | flagMore, actNone
		}
	}
	return w, actNone
}

// onCalm ends a rest that waited for the work beside the callbacks: a worker looks once more at a
// connection that is draining, or that the peer has closed.
func (w word) onCalm() (word, action) {
	next := w &^ flagBusy
	switch w.holder() {
	case holderDormant:
		if w.has(flagDraining) {
			return next.to(holderReady), actQueue
		}
	case holderLingering:
		if w.has(flagDraining) {
			return next, actKick
		}
	case holderPaused:
		if w.has(flagHangup) {
			return next.to(holderReady) &^ flagPaused, actQueue
		}
	}
	return next, actNone
}
