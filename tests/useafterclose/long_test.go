//go:build hardening && !nopoller

package useafterclose

// rounds is how often each method is called on a subject that is being closed.
const rounds = 30
