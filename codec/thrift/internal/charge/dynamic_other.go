//go:build !amd64 || windows

package charge

// dynamicText is what dynamicgo takes for a byte of JSON without native code, or on Windows: its
// buffer grows like append's.
const dynamicText = 4
