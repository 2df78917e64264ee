package promise

const (
	runtimeHasNoFlock = false
	seenEverywhere    = true
)
