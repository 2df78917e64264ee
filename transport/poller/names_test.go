package poller

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

func TestNames(t *testing.T) {
	for _, test := range []struct {
		value fmt.Stringer
		want  string
	}{
		{Readiness(0), "none"},
		{Readable, "readable"},
		{Readable | Hangup, "readable|hangup"},
		{Readable | Writable | Hangup, "readable|writable|hangup"},
		{Readable | ErrorQueued, "readable|error queued"},
		{Readiness(16), "invalid"},
		{InterestRead | InterestWrite, "read|write"},
		{InterestHangup, "hangup"}, {InterestRead | InterestStay, "read|stay"},
		{RoundRobin, "round robin"},
		{Random, "random"},
		{LeastConnections, "least connections"},
		{SourceHash, "source hash"},
		{Policy(9), "invalid"},
		{slotFree, "free"}, {slotAdded, "added"}, {slotArmed, "armed"}, {slotStaying, "staying"}, {slotQuiet, "quiet"},
		{slotState(9), "invalid"},
		{phaseOpen, "open"}, {phaseRetired, "retired"}, {phaseStopping, "stopping"},
		{phase(9), "invalid"},
		{causeClose, "close"}, {causeRetire, "retire"}, {causeRelease, "release"},
		{phaseCause(9), "invalid"},
	} {
		if got := test.value.String(); got != test.want {
			t.Errorf("%T: got %q, want %q", test.value, got, test.want)
		}
	}
}

func TestInterestValid(t *testing.T) {
	for in, want := range map[Interest]bool{
		0: false, InterestRead: true, InterestWrite: true, InterestHangup: true,
		interestAll: true, InterestStay: false, InterestStay | InterestRead: true,
		16: false, 16 | InterestRead: false,
	} {
		if got := in.valid(); got != want {
			t.Errorf("%v: got %v, want %v", in, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	if err := opError("arm", nil); err != nil {
		t.Errorf("opError of nil: got %v", err)
	}
	err := opError("arm", os.NewSyscallError("epoll_ctl", syscall.EBADF))
	testkit.Equal(t, err.Error(), "poller: arm: epoll_ctl: bad file descriptor", "Error")
	var kernel *os.SyscallError
	if !errors.As(err, &kernel) || !errors.Is(err, syscall.EBADF) {
		t.Error("the kernel's error is not in the chain")
	}
	err = opError("add", &waitFailure{cause: opError("wait", syscall.EBADF)})
	if !errors.Is(err, net.ErrClosed) || !errors.Is(err, syscall.EBADF) {
		t.Errorf("after a failed wait: %v does not match both causes", err)
	}
	if got, want := err.Error(),
		"poller: add: closed after a failed wait: poller: wait: "+syscall.EBADF.Error(); got != want {
		t.Errorf("Error: got %q, want %q", got, want)
	}
	testkit.Equal(t, badSizeError(-3).Error(), "bad number of pollers: -3")
}

func TestNextPhase(t *testing.T) {
	for _, test := range []struct {
		now    phase
		cause  phaseCause
		tokens int
		want   phase
	}{
		{phaseOpen, causeClose, 0, phaseStopping},
		{phaseOpen, causeClose, 1, phaseStopping},
		{phaseOpen, causeRetire, 0, phaseStopping},
		{phaseOpen, causeRetire, 1, phaseRetired},
		{phaseOpen, causeRelease, 0, phaseOpen},
		{phaseOpen, causeRelease, 1, phaseOpen},
		{phaseRetired, causeClose, 0, phaseStopping},
		{phaseRetired, causeClose, 1, phaseStopping},
		{phaseRetired, causeRetire, 1, phaseRetired},
		{phaseRetired, causeRelease, 0, phaseStopping},
		{phaseRetired, causeRelease, 1, phaseRetired},
		{phaseStopping, causeClose, 1, phaseStopping},
		{phaseStopping, causeRetire, 1, phaseStopping},
		{phaseStopping, causeRelease, 0, phaseStopping},
	} {
		if got := nextPhase(test.now, test.cause, test.tokens); got != test.want {
			t.Errorf("%v, %v with %d tokens: got %v, want %v",
				test.now, test.cause, test.tokens, got, test.want)
		}
	}
}
