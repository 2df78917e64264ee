// Package hostile sends a server what no Kitex client sends, over raw sockets:
// its connection ends, and nothing else does. No panic, no flood of log lines,
// nothing left behind, other callers undisturbed.
package hostile
