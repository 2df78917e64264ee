//go:build amd64 && !windows

package charge

// dynamicText is what dynamicgo takes for a byte of JSON in native code. Its buffer doubles when it
// is full: the last one may be twice as long as the text, and the earlier ones together as long.
// Two is enough for most lengths, but not where the last buffer is hardly used.
const dynamicText = 3
