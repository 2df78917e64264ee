package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Open makes calls at a fixed rate, in calls per second, until d has passed. One is due every
// 1/rate seconds, and its latency counts from then. So it includes the time that a call waits for a
// caller because earlier ones were slow. Callers take due calls in order; a server that cannot keep
// up makes the load last longer. Report.Late is how late the load itself was: what passed until a
// call that found a free caller began. Open returns the first error of a call, or why ctx ended.
func Open(ctx context.Context, callers []Caller, rate float64, d time.Duration) (Report, error) {
	total := int(rate * d.Seconds())
	if total < 1 {
		return Report{}, fmt.Errorf("no call is due in %v at %g calls/s", d, rate)
	}
	crew := newCrew(ctx)
	due := make(chan time.Time, total) // room for all: a delay never delays what is due later
	for _, call := range callers {
		crew.add(func(ctx context.Context, latencies *record) error {
			for at := range due {
				if ctx.Err() != nil {
					return nil
				}
				if len(due) == 0 { // the call did not wait for a caller
					if err := crew.late.add(time.Since(at)); err != nil {
						return err
					}
				}
				if err := call(context.Background()); err != nil {
					return err
				}
				if err := latencies.add(time.Since(at)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	clock, err := newMetronome(rate) // last, because it runs from now on
	if err != nil {
		close(due)
		crew.wg.Wait()
		return Report{}, err
	}
	err = clock.run(crew.ctx, total, due)
	close(due)
	report, callErr := crew.wait(clock.began)
	if callErr != nil {
		return Report{}, errors.Join(callErr, clock.close())
	}
	return report, errors.Join(err, clock.close())
}

// metronome ticks at a fixed rate. Go's own timers are exact to a millisecond if nothing else wakes
// the process (runtime/netpoll_epoll.go rounds up). The kernel's are exact to some microseconds,
// and Go's poller waits for them as for a socket.
type metronome struct {
	file     *os.File
	interval time.Duration
	began    time.Time // the start; the first tick comes an interval later
}

func newMetronome(rate float64) (*metronome, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	m := &metronome{file: os.NewFile(uintptr(fd), "timerfd"), interval: time.Duration(float64(time.Second) / rate)}
	period := unix.NsecToTimespec(int64(m.interval))
	m.began = time.Now()
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: period, Value: period}, nil); err != nil {
		return nil, errors.Join(os.NewSyscallError("timerfd_settime", err), m.close())
	}
	return m, nil
}

func (m *metronome) close() error { return m.file.Close() }

// run sends the times of total ticks to due, each at its time.
func (m *metronome) run(ctx context.Context, total int, due chan<- time.Time) error {
	// Reads of a timerfd have deadlines.
	stop := context.AfterFunc(ctx, func() { _ = m.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var expirations [8]byte
	for sent := 0; sent < total; {
		if _, err := m.file.Read(expirations[:]); err != nil {
			if ctx.Err() != nil {
				return nil // the crew reports why
			}
			return err
		}
		passed := int(min(binary.NativeEndian.Uint64(expirations[:]), uint64(total-sent)))
		for range passed {
			sent++
			due <- m.began.Add(time.Duration(sent) * m.interval)
		}
	}
	return nil
}
