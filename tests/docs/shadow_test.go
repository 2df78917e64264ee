package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestExamplesShadowNothing: no variable of an example has the name of a package that its file
// imports, or of one of Kiteline's own, which a reader would take it for.
func TestExamplesShadowNothing(t *testing.T) {
	own := make(map[string]bool)
	for _, folder := range packageFolders(t) {
		if isLibrary(folder) && !strings.Contains(folder, "internal") {
			own[path.Base(folder)] = true
		}
	}
	examples := 0
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "kitex_gen" || strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2):
			return fs.SkipDir
		case !strings.HasSuffix(name, ".go"):
			return nil
		}
		inExamples := strings.Contains(filepath.ToSlash(name), "/examples/")
		if !inExamples && !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		packages := importNames(file)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !inExamples && !strings.HasPrefix(f.Name.Name, "Example") {
				continue
			}
			examples++
			for _, v := range declaredIn(f) {
				if packages[v.Name] || own[v.Name] {
					t.Errorf("%v: the variable %s is named like a package", set.Position(v.Pos()), v.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if examples < 30 {
		t.Errorf("found only %d examples", examples)
	}
}

// importNames returns the names by which file knows its imports.
func importNames(file *ast.File) map[string]bool {
	names := make(map[string]bool)
	for _, i := range file.Imports {
		if i.Name != nil {
			names[i.Name.Name] = true
		} else if imported, err := strconv.Unquote(i.Path.Value); err == nil {
			names[path.Base(imported)] = true
		}
	}
	return names
}

// declaredIn returns the parameters and variables of f, and of the functions inside it.
func declaredIn(f *ast.FuncDecl) []*ast.Ident {
	var all []*ast.Ident
	add := func(e ast.Expr) {
		if name, ok := e.(*ast.Ident); ok {
			all = append(all, name)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncType:
			for _, list := range []*ast.FieldList{n.Params, n.Results} {
				if list == nil {
					continue
				}
				for _, field := range list.List {
					all = append(all, field.Names...)
				}
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					add(e)
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				add(n.Key)
				add(n.Value)
			}
		case *ast.ValueSpec:
			all = append(all, n.Names...)
		}
		return true
	})
	return all
}
