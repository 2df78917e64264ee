package docs

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestImports compares ARCHITECTURE.md's layers with the imports of the packages: each line names all
// that its package imports of this project, and outside of it and the standard library, and stands
// above what it imports.
func TestImports(t *testing.T) {
	want := make(map[string]imports)
	for _, folder := range packageFolders(t) {
		if !isLibrary(folder) || strings.Contains(folder, "/internal/") {
			continue
		}
		want[folder] = importsOf(t, folder)
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

// imports are what a package's code, tests excluded, imports with the internal packages below it.
type imports struct{ ours, others []string }

func importsOf(t *testing.T, folder string) imports {
	t.Helper()
	mine, foreign := make(map[string]bool), make(map[string]bool)
	for _, of := range packageFolders(t) {
		if of != folder && !strings.HasPrefix(of, folder+"/internal/") || !isLibrary(of) {
			continue
		}
		for i := range ours(t, of).imports {
			own, isOurs := strings.CutPrefix(i, module+"/")
			switch {
			case isOurs && !strings.Contains(own, "/internal/"):
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

// TestBooleanParameters holds what CONTRIBUTING.md says of them: an exported function has none, except
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
