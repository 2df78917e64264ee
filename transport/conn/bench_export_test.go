package conn

// IsWatched reports whether a poller watches c for its user.
func IsWatched(c *Conn) bool { return word(c.state.Load()).holder() == holderWatched }
