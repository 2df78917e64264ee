package faults

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// TestRole plays the roles of other processes.
func TestRole(t *testing.T) {
	harness.Play(t, map[string]func(*testing.T, *harness.Role){"server": beServer, "client": beClient})
}

// way is a protocol over a transport.
type way struct {
	protocol
	tr harness.Transport
}

func ways() []way {
	var all []way
	for _, p := range protocols {
		for _, tr := range harness.Both {
			all = append(all, way{p, tr})
		}
	}
	return all
}

// String names the way.
func (w way) String() string { return fmt.Sprintf("%s over %v", w.name, w.tr) }

// remoteAccounts are for streams whose other side is in another process, from which no account
// comes. They have the names of the first accounts that are opened there.
func remoteAccounts() map[shape]*account {
	all := openAccounts(new(accounts))
	for _, a := range all {
		a.begin()
	}
	return all
}

// beServer serves each way until the process is killed.
func beServer(t *testing.T, role *harness.Role) {
	var addrs []string
	for _, w := range ways() {
		s, opened := startStreams(t, w.protocol, w.tr)
		openAccounts(opened)
		addrs = append(addrs, s.Addr.String())
	}
	role.Say("%s", strings.Join(addrs, " "))
	role.Heard()
}

// beClient opens streams to the addresses that it is given, one for each way, and leaves them open.
func beClient(t *testing.T, role *harness.Role) {
	var open sync.WaitGroup
	for i, w := range ways() {
		addr, err := net.ResolveTCPAddr("tcp", role.Arguments[i])
		if err != nil {
			t.Fatal(err)
		}
		cli := w.dial(t, w.tr, addr)
		open.Add(1)
		go func() {
			err := openAll(context.Background(), cli, remoteAccounts(), func() { open.Done(); select {} })
			t.Errorf("%v: %v", w, err)
			open.Done()
		}()
	}
	open.Wait()
	role.Say("open")
	role.Heard()
}

// TestStreamOfKilledServer kills the process of a server while streams are open.
func TestStreamOfKilledServer(t *testing.T) {
	child := harness.StartChild(t, nil, "server")
	addrs := strings.Fields(child.Hear(4 * testkit.Patience))
	var open, ended sync.WaitGroup
	killed := make(chan struct{})
	for i, w := range ways() {
		addr, err := net.ResolveTCPAddr("tcp", addrs[i])
		if err != nil {
			t.Fatal(err)
		}
		cli := w.dial(t, w.tr, addr)
		all := remoteAccounts()
		open.Add(1)
		ended.Go(func() {
			opened := sync.OnceFunc(open.Done)
			defer opened()
			if err := openAll(t.Context(), cli, all, func() { opened(); <-killed }); err != nil {
				t.Errorf("%v: %v", w, err)
				return
			}
			for sh, a := range all {
				checkTold(t, fmt.Sprintf("%v, %s", w, sh), a, "client")
				checkKinds(t, fmt.Sprintf("%v, %s", w, sh), a)
			}
		})
	}
	open.Wait()
	child.Kill()
	close(killed)
	ended.Wait()
}

// TestStreamOfKilledClient kills the process of a client while streams are open.
func TestStreamOfKilledClient(t *testing.T) {
	var addrs []string
	var all []map[shape]*account
	for _, w := range ways() {
		s, opened := startStreams(t, w.protocol, w.tr)
		addrs = append(addrs, s.Addr.String())
		all = append(all, openAccounts(opened))
	}
	child := harness.StartChild(t, nil, "client", addrs...)
	child.Hear(4 * testkit.Patience)
	for _, opened := range all {
		for sh, a := range opened {
			testkit.Receive(t, fmt.Sprintf("the first message: %s", sh), a.begun)
		}
	}
	child.Kill()
	for i, w := range ways() {
		for _, a := range all[i] {
			a.arm()
		}
		endedStreams(t, all[i])
		for sh, a := range all[i] {
			if sh != unary {
				checkTold(t, fmt.Sprintf("%v, %s", w, sh), a, "server")
				checkKinds(t, fmt.Sprintf("%v, %s", w, sh), a)
			}
		}
	}
}
