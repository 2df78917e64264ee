//go:build !amd64 || windows

package charge

// dynamicText is what dynamicgo takes for a byte of JSON where it has no native code, or on
// Windows: its buffer grows as append lets it.
const dynamicText = 4
