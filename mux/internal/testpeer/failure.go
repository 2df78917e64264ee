package testpeer

import (
	"runtime"

	"github.com/kiteline/kiteline/transport/conn"
)

// Failure is a way in which a callback can end without returning, and what is reported of it.
type Failure struct {
	Fail  func()
	Value any // what the failure is reported as
}

// Failures returns all failures.
func Failures() map[string]Failure {
	return map[string]Failure{
		"panic":  {func() { panic("of a test") }, "of a test"},
		"Goexit": {runtime.Goexit, conn.ErrGoexit},
	}
}
