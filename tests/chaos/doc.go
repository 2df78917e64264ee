// Package chaos tests what stays intact when everything happens at once: connections are dialed,
// used, cancelled and closed by either end at random, servers restart, and descriptors are used
// again, while the collector runs all the time.
//
//	go test ./tests/chaos                                                 a few seconds
//	go test -tags long ./tests/chaos                                      a minute
//	go test -race -tags buffercheck -timeout 40m ./tests/chaos -args -d 30m
package chaos
