package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestForTestsOnly: no package that users import imports one that is for tests.
func TestForTestsOnly(t *testing.T) {
	folders := packageFolders(t)
	for _, folder := range folders {
		if !isLibrary(folder) {
			continue
		}
		for i := range ours(t, folder).imports {
			own, isOurs := strings.CutPrefix(i, module+"/")
			if isOurs && !isLibrary(own) {
				t.Errorf("%s imports %s, which is for tests", folder, own)
			}
		}
	}
	if kit := "internal/testkit"; !slices.Contains(folders, kit) || isLibrary(kit) {
		t.Errorf("%s is not known as a package for tests", kit)
	}
}

// ownSwitch matches a file whose constants say how the tests were built, and a flag for long tests.
var ownSwitch = regexp.MustCompile(`^//go:build !?(race|long)\n(.*\n)*const \w+ = (true|false|\d+)\n|flag\.Bool\("([a-z.]*)long"`)

// TestLongTests: the long tests have one switch, and every place that says how to run them in full
// says the same.
func TestLongTests(t *testing.T) {
	const command = "go test -tags long -p 1 -timeout 4h ./..."
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "RELIABILITY.md", "internal/testkit/doc.go"} {
		if !strings.Contains(read(t, name).text, command) {
			t.Errorf("%s does not say %q", name, command)
		}
	}
	arguments := strings.TrimPrefix(command, "go ")
	if !strings.Contains(read(t, ".ci/run").text, `go -C "$module" `+arguments) {
		t.Errorf(".ci/run does not run %q", arguments)
	}
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "internal/testkit/") {
			return
		}
		if ownSwitch.MatchString(read(t, name).text) {
			t.Errorf("%s has a switch of its own: see internal/testkit", name)
		}
	})
}
