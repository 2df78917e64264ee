package pool

import (
	"net"
	"sync"

	"github.com/cloudwego/kitex/pkg/remote/connpool"
)

// poolReport counts the reports about one address to Kitex's reporter.
type poolReport struct{ dials, failures, reuses int }

// noteReporter counts by service and address.
type noteReporter struct {
	mu      sync.Mutex
	reports map[string]poolReport // guarded by mu
}

// poolReports returns the reporter of this process: Kitex takes only the first that is set.
var poolReports = sync.OnceValue(func() *noteReporter {
	r := &noteReporter{reports: make(map[string]poolReport)}
	connpool.SetReporter(r)
	return r
})

// take returns what was reported about a service at an address since the last take.
func (r *noteReporter) take(service, address string) poolReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := service + " tcp " + address
	got := r.reports[key]
	delete(r.reports, key)
	return got
}

func (r *noteReporter) change(kind connpool.ConnectionPoolType, service string, addr net.Addr, f func(*poolReport)) {
	if kind != connpool.Long {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := service + " " + addr.Network() + " " + addr.String()
	report := r.reports[key]
	f(&report)
	r.reports[key] = report
}

func (r *noteReporter) ConnSucceed(k connpool.ConnectionPoolType, s string, a net.Addr) {
	r.change(k, s, a, func(p *poolReport) { p.dials++ })
}

func (r *noteReporter) ConnFailed(k connpool.ConnectionPoolType, s string, a net.Addr) {
	r.change(k, s, a, func(p *poolReport) { p.failures++ })
}

func (r *noteReporter) ReuseSucceed(k connpool.ConnectionPoolType, s string, a net.Addr) {
	r.change(k, s, a, func(p *poolReport) { p.reuses++ })
}
