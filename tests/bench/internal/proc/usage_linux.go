package proc

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process has used since its start, and what it holds now.
type Usage struct {
	CPU            time.Duration // user and system time
	Switches       int64         // context switches, wanted and not
	Mallocs        uint64        // heap allocations
	AllocatedBytes uint64
	HeapBytes      int64 // of heap and stacks in use
	ResidentBytes  int64
	Goroutines     int
	Sockets        int
}

// Since returns the use since before was taken. What the process holds is unchanged.
func (u Usage) Since(before Usage) Usage {
	u.CPU -= before.CPU
	u.Switches -= before.Switches
	u.Mallocs -= before.Mallocs
	u.AllocatedBytes -= before.AllocatedBytes
	return u
}

// OwnUsage reads the usage of this process.
func OwnUsage() Usage {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru) // fails only for a bad argument
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return Usage{
		CPU:            duration(ru.Utime) + duration(ru.Stime),
		Switches:       ru.Nvcsw + ru.Nivcsw,
		Mallocs:        mem.Mallocs,
		AllocatedBytes: mem.TotalAlloc,
		HeapBytes:      int64(mem.HeapInuse + mem.StackInuse),
		ResidentBytes:  residentBytes(),
		Goroutines:     runtime.NumGoroutine(),
		Sockets:        sockets(),
	}
}

// CollectedUsage reads the usage of this process after a garbage collection.
func CollectedUsage() Usage {
	runtime.GC()
	runtime.GC() // frees what finalizers and pools held
	return OwnUsage()
}

func duration(t syscall.Timeval) time.Duration { return time.Duration(t.Nano()) }

// residentBytes reads the second field of proc_pid_statm(5); 0 if there is none.
func residentBytes() int64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64) // 0 if it is not a number
	return pages * int64(os.Getpagesize())
}

// sockets counts this process's open sockets.
func sockets() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	count := 0
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && strings.HasPrefix(target, "socket:") {
			count++
		}
	}
	return count
}
