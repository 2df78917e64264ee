//go:build !linux

package harness

// isNetpolls reports false: there is no list of descriptors.
func isNetpolls(int) bool { return false }

// inheritNone does nothing, because the descriptors are not known here.
func inheritNone() {}
