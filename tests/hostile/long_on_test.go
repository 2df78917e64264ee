//go:build long

package hostile

// long says whether every message is sent to every reader in every form.
const long = true
