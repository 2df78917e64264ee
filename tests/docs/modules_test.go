package docs

import (
	"bufio"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kiteline/kiteline"

// TestModules compares ARCHITECTURE.md's table of modules with the go.mod files.
func TestModules(t *testing.T) {
	want := []string{"root"}
	walk(t, func(name string) {
		if path.Base(name) == "go.mod" && name != "go.mod" {
			want = append(want, path.Dir(name))
		}
	})
	var got []string
	for _, row := range tableRows(read(t, "ARCHITECTURE.md").section(t, "## Modules")) {
		got = append(got, strings.Trim(row[0], "`"))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("ARCHITECTURE.md lists the modules\n%q, and there are\n%q", got, want)
	}
}

// TestDependencies compares CONTRIBUTING.md's two lists, of the library's imports and of those that
// only tests and examples have, with the imports and with go.mod.
func TestDependencies(t *testing.T) {
	required := make(map[string]bool)
	for _, r := range requirements(t) {
		required[r.path] = true
	}
	library := make(map[string]bool)
	for _, folder := range packageFolders(t) {
		if !isLibrary(folder) {
			continue
		}
		for i := range ours(t, folder).imports {
			if first, _, _ := strings.Cut(i, "/"); !strings.Contains(first, ".") || strings.HasPrefix(i, module) {
				continue
			}
			if of := moduleOf(required, i); of != "" {
				library[of] = true
			} else {
				t.Errorf("%s imports %s, and go.mod does not require it directly", folder, i)
			}
		}
	}
	tests := maps.Clone(required)
	maps.DeleteFunc(tests, func(name string, _ bool) bool { return library[name] })

	section := read(t, "CONTRIBUTING.md").section(t, "## Dependencies")
	documented := make(map[string][]string)
	for _, row := range tableRows(section) {
		documented[row[1]] = append(documented[row[1]], strings.Trim(row[0], "`"))
	}
	for who, want := range map[string]map[string]bool{"the library": library, "tests and examples": tests} {
		got := documented[who]
		slices.Sort(got)
		if sorted := slices.Sorted(maps.Keys(want)); !slices.Equal(got, sorted) {
			t.Errorf("CONTRIBUTING.md says that %s need\n%q, and they need\n%q", who, got, sorted)
		}
		delete(documented, who)
	}
	for who := range documented {
		t.Errorf("CONTRIBUTING.md has dependencies of %q", who)
	}
}

// TestVersions checks that documents name the versions that go.mod requires.
func TestVersions(t *testing.T) {
	want := make(map[string]string)
	for _, r := range requirements(t) {
		want[r.path] = r.version
	}
	modules := map[string]string{
		"kitex": "github.com/cloudwego/kitex", "netpoll": "github.com/cloudwego/netpoll", "gopkg": "github.com/cloudwego/gopkg",
	}
	version := regexp.MustCompile(`(?i)\b(kitex|netpoll|gopkg) (v\d+\.\d+\.\d+)`)
	found := 0
	for _, d := range documents(t) {
		if d.name == "tests/bench/RESULTS.md" { // versions of the day of its run
			continue
		}
		for _, match := range version.FindAllStringSubmatch(plain(d.prose()), -1) {
			found++
			if name := modules[strings.ToLower(match[1])]; want[name] != match[2] {
				t.Errorf("%s names %s, and go.mod requires %s", d.name, match[0], want[name])
			}
		}
	}
	if found < 5 {
		t.Errorf("found only %d versions", found)
	}
}

type requirement struct{ path, version string }

// requirements returns what the root's go.mod requires directly.
func requirements(t *testing.T) []requirement {
	t.Helper()
	line := regexp.MustCompile(`^(?:require )?\s*(\S+\.\S+/\S+) (v\S+)$`)
	var all []requirement
	for s := bufio.NewScanner(strings.NewReader(read(t, "go.mod").text)); s.Scan(); {
		if match := line.FindStringSubmatch(s.Text()); match != nil {
			all = append(all, requirement{match[1], match[2]})
		}
	}
	if len(all) < 3 {
		t.Fatalf("go.mod requires only %q", all)
	}
	return all
}

// moduleOf returns the module that has a package.
func moduleOf(modules map[string]bool, pkg string) string {
	for ; pkg != "." && pkg != "/"; pkg = path.Dir(pkg) {
		if modules[pkg] {
			return pkg
		}
	}
	return ""
}

// TestUnreleased checks that the changelog has a place for the next line.
func TestUnreleased(t *testing.T) {
	unreleased := read(t, "CHANGELOG.md").section(t, "## Unreleased")
	if !strings.Contains(unreleased, "### Fixed") {
		t.Error("CHANGELOG.md has no section Fixed under Unreleased")
	}
}
