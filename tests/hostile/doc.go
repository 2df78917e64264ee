// Package hostile sends a server what no Kitex client sends, over raw sockets: its connection ends,
// and nothing else does. There is no panic, no flood of log lines, nothing is left behind, and
// other callers are undisturbed.
package hostile
