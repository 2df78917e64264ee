package proc

import (
	"bytes"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestParseCalls reads what perf prints: counts of calls that do the same are added up, and what
// could not be counted is an error if nothing was.
func TestParseCalls(t *testing.T) {
	const output = `# started

120,,syscalls:sys_enter_read,1000,100.00,,
3,,syscalls:sys_enter_recvfrom,1000,100.00,,
0,,syscalls:sys_enter_futex,1000,100.00,,
<not supported>,,syscalls:sys_enter_epoll_wait,0,100.00,,
`
	got, err := parseCalls(bytes.NewBufferString(output))
	if want := (map[string]int64{"read": 123, "futex": 0}); err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := parseCalls(bytes.NewBufferString("no permission\n")); err == nil || !strings.Contains(err.Error(), "no permission") {
		t.Errorf("got %v", err)
	}
}

// TestCountCalls counts the writes of this process, where that is allowed.
func TestCountCalls(t *testing.T) {
	c, err := CountCalls(t.Context(), os.Getpid())
	if err != nil {
		t.Skip(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	const writes = 1000
	for range writes {
		if _, err := syscall.Write(int(null.Fd()), []byte{0}); err != nil {
			t.Fatal(err)
		}
	}
	counts, err := c.Stop()
	if err != nil {
		t.Skip(err)
	}
	if n := counts["write"]; n > 2*writes {
		t.Errorf("%d writes were counted of %d", n, writes)
	}
}
