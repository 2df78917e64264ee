package stock

// StartPollers has nothing to start: netpoll has no pollers here.
func StartPollers() {}
