//go:build amd64 && !windows

package charge

// dynamicText is what dynamicgo takes for a byte of JSON in native code.
const dynamicText = 3
