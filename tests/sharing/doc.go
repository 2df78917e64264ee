// Package sharing tests the rule that a call on a shared connection suffers no more from its
// neighbours than on a connection of its own, with whole Kitex clients and servers over loopback.
// Each test is a situation, and compares a client whose calls share connections with one whose
// connections are pooled.
//
//	go test ./tests/sharing             states and counts: a few seconds, on a busy machine too
//	go test -tags long ./tests/sharing  also times: minutes, on a quiet one, printed as a table
//
// In the first form channels, not time, end the handlers, so that "beside" and "before" are facts.
// In the second the two clients take turns, and medians of five rounds are compared.
package sharing
