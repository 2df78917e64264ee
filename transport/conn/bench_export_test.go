package conn

// IsWatched reports whether a poller watches c behind its user's back.
func IsWatched(c *Conn) bool { return word(c.state.Load()).holder() == holderWatched }
