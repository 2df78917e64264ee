//go:build amd64 && !windows

package charge

// dynamicText is what dynamicgo takes for a byte of JSON in native code. Its buffer doubles when it
// is full: the last may be twice as long as the text, and those before it together as long. Two is
// enough for most lengths, not for those where the last buffer is hardly used.
const dynamicText = 3
