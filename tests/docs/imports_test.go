package docs

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestImports compares ARCHITECTURE.md's layers with the imports of the packages. Each line names
// all imports of its package from this project, and those from outside it and the standard library.
// It stands above the packages that it imports. An internal package counts as a part of the package
// above it, unless several share it.
func TestImports(t *testing.T) {
	want := make(map[string]imports)
	shared := sharedRooms(t)
	for _, folder := range packageFolders(t) {
		if !isLibrary(folder) || strings.Contains(folder, "/internal/") && !shared[folder] {
			continue
		}
		want[folder] = importsOf(t, folder, shared)
	}
	section := read(t, "ARCHITECTURE.md").section(t, "## Imports")
	_, block, _ := strings.Cut(section, "```\n")
	block, _, ok := strings.Cut(block, "```\n")
	if !ok {
		t.Fatal("ARCHITECTURE.md has no block of code below Imports")
	}
	above := make(map[string]bool)
	for line := range strings.Lines(block) {
		name, right, _ := strings.Cut(line, "→")
		mine, others, ok := strings.Cut(right, "│")
		if !ok {
			t.Errorf("ARCHITECTURE.md: %q has not three columns", line)
			continue
		}
		name = strings.TrimSpace(name)
		got := imports{list(mine), list(others)}
		if w, known := want[name]; !known {
			t.Errorf("ARCHITECTURE.md: there is no package %q", name)
		} else if !slices.Equal(got.ours, w.ours) || !slices.Equal(got.others, w.others) {
			t.Errorf("ARCHITECTURE.md: %s imports %q, got %q", name, w, got)
		}
		delete(want, name)
		above[name] = true
		for _, below := range got.ours {
			if above[below] {
				t.Errorf("ARCHITECTURE.md: %s imports %s, which stands above it", name, below)
			}
		}
	}
	for name := range want {
		t.Errorf("ARCHITECTURE.md: %s is missing", name)
	}
}

// TestEndsAreApart checks that the two ends of a shared connection do not import each other.
func TestEndsAreApart(t *testing.T) {
	shared := sharedRooms(t)
	for end, other := range map[string]string{"mux": "mux/muxserver", "mux/muxserver": "mux"} {
		if slices.Contains(importsOf(t, end, shared).ours, other) {
			t.Errorf("%s imports %s", end, other)
		}
	}
}

// sharedRooms returns the internal packages that are imported by packages other than the one above
// them.
func sharedRooms(t *testing.T) map[string]bool {
	t.Helper()
	shared := make(map[string]bool)
	for _, folder := range packageFolders(t) {
		if !isLibrary(folder) {
			continue
		}
		for i := range ours(t, folder).imports {
			room, isOurs := strings.CutPrefix(i, module+"/")
			above, _, isRoom := strings.Cut(room, "/internal/")
			if isOurs && isRoom && folder != above && !strings.HasPrefix(folder, above+"/internal/") {
				shared[room] = true
			}
		}
	}
	return shared
}

// imports are the imports of a package's code and of the internal packages below it, without tests.
type imports struct{ ours, others []string }

// importsOf returns the imports of a package. A shared package is not a part of the one above it.
func importsOf(t *testing.T, folder string, shared map[string]bool) imports {
	t.Helper()
	mine, foreign := make(map[string]bool), make(map[string]bool)
	for _, of := range packageFolders(t) {
		if of != folder && (!strings.HasPrefix(of, folder+"/internal/") || shared[of]) || !isLibrary(of) {
			continue
		}
		for i := range ours(t, of).imports {
			own, isOurs := strings.CutPrefix(i, module+"/")
			switch {
			case isOurs && (!strings.Contains(own, "/internal/") || shared[own]):
				mine[own] = true
			case !isOurs && strings.HasPrefix(i, "golang.org/x/"):
				foreign["x/"+strings.Split(i, "/")[2]] = true
			case !isOurs && strings.HasPrefix(i, "github.com/"):
				foreign[strings.TrimPrefix(strings.Join(strings.Split(i, "/")[1:3], "/"), "cloudwego/")] = true
			}
		}
	}
	return imports{slices.Sorted(maps.Keys(mine)), slices.Sorted(maps.Keys(foreign))}
}

// list returns the parts of a column.
func list(column string) []string {
	var all []string
	for part := range strings.SplitSeq(column, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	slices.Sort(all)
	return all
}

// TestBooleanParameters checks the rule in CONTRIBUTING.md: an exported function has none, except
// for a value that it writes and where the standard library's method of that name has one.
func TestBooleanParameters(t *testing.T) {
	standard := []string{"SetUnlinkOnClose"} // of net.UnixListener
	for _, folder := range packageFolders(t) {
		if !isLibrary(folder) {
			continue
		}
		for _, file := range ours(t, folder).files {
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || !token.IsExported(f.Name.Name) || f.Recv != nil && !token.IsExported(typeName(f.Recv.List[0].Type)) {
					continue
				}
				for _, p := range f.Type.Params.List {
					if is, ok := p.Type.(*ast.Ident); ok && is.Name == "bool" && !strings.Contains(f.Name.Name, "Bool") && !slices.Contains(standard, f.Name.Name) {
						t.Errorf("%s: %s has a boolean parameter", folder, f.Name.Name)
					}
				}
			}
		}
	}
}
