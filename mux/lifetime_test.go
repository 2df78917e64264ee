package mux

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAgeOfIdleConnections: connections of a set that is no longer used end after the idle time,
// and are not replaced for their age forever.
func TestAgeOfIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newEchoDialer(true)
		s := d.set(t, Config{MaxConns: 1, MaxAge: 20 * time.Second, IdleTimeout: time.Minute})
		connect(t, s)
		time.Sleep(time.Hour)
		if st := s.Stats(); st.Connections+st.Dialing > 0 || st.Dials > 5 {
			t.Errorf("an hour after the last call: %d connections, %d dials", st.Connections, st.Dials)
		}
	})
}
