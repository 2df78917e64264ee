package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeProgram runs the program in README.md as it is.
func TestReadmeProgram(t *testing.T) {
	_, program, _ := strings.Cut(read(t, "README.md").section(t, "## Use"), "```go\n")
	program, _, ok := strings.Cut(program, "```\n")
	if !ok || !strings.HasPrefix(program, "package main\n") {
		t.Fatalf("README.md has no program below Use:\n%s", program)
	}
	name := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(name, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "run", name)
	command.Dir = root
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if answer := regexp.MustCompile(`(?m) kitekite <nil>$`); !answer.Match(output) {
		t.Errorf("got\n%s", output)
	}
}
