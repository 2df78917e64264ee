package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// api has what a package exports: functions, types, variables and constants by their names, methods
// and fields as Type.Name. The values are the comments of functions, otherwise empty.
type api map[string]string

// constants has the values of a package's constants and variables, exported or not, as written.
type constants map[string]ast.Expr

// parsed is one package: all its files for all systems, without tests.
type parsed struct {
	api       api
	constants constants
	options   map[string]string // functions that return an option: the type of that
	imports   map[string]bool
	files     []*ast.File
}

// parseCache keeps parsed packages for several tests.
var parseCache sync.Map // by folder: *parsed

// parsePackage parses a folder's files. For a folder without Go files the result is empty.
func parsePackage(t *testing.T, dir string) *parsed {
	t.Helper()
	if known, ok := parseCache.Load(dir); ok {
		return known.(*parsed)
	}
	p := &parsed{api: make(api), constants: make(constants), options: make(map[string]string), imports: make(map[string]bool)}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		p.files = append(p.files, file)
		p.add(file)
	}
	parseCache.Store(dir, p)
	return p
}

func (p *parsed) add(file *ast.File) {
	for _, i := range file.Imports {
		p.imports[strings.Trim(i.Path.Value, `"`)] = true
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = typeName(d.Recv.List[0].Type) + "." + name
			}
			p.api[name] = d.Doc.Text()
			if results := d.Type.Results; results != nil && len(results.List) == 1 {
				switch of := typeName(results.List[0].Type); of {
				case "Option", "ServerOption", "ClientOption":
					p.options[name] = of
				}
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				p.addSpec(s)
			}
		}
	}
}

func (p *parsed) addSpec(s ast.Spec) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for i, name := range s.Names {
			p.api[name.Name] = ""
			if i < len(s.Values) {
				p.constants[name.Name] = s.Values[i]
			}
		}
	case *ast.TypeSpec:
		p.api[s.Name.Name] = ""
		var members *ast.FieldList
		switch of := s.Type.(type) {
		case *ast.StructType:
			members = of.Fields
		case *ast.InterfaceType:
			members = of.Methods
		default:
			return
		}
		for _, member := range members.List {
			for _, name := range member.Names {
				p.api[s.Name.Name+"."+name.Name] = ""
			}
		}
	}
}

// typeName returns the name of a type that may be a pointer or have parameters.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// packageFolders returns the folders of the root module's packages, from the repository's root.
func packageFolders(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if name == "." {
			return nil
		}
		if base := entry.Name(); base == "testdata" || base == "kitex_gen" || strings.HasPrefix(base, ".") || exists(name+"/go.mod") {
			return fs.SkipDir
		}
		if len(parsePackage(t, path).files) > 0 {
			all = append(all, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// isLibrary reports whether users may import a folder's package, directly or through another.
func isLibrary(folder string) bool {
	switch top, _, _ := strings.Cut(folder, "/"); top {
	case "transport", "mux", "codec", "internal":
	default:
		return false
	}
	for _, ofTests := range []string{"internal/stock", "internal/test", "internal/handwritten"} {
		if strings.Contains(folder, ofTests) {
			return false
		}
	}
	return true
}

func ours(t *testing.T, folder string) *parsed {
	t.Helper()
	p := parsePackage(t, filepath.Join(root, filepath.FromSlash(folder)))
	if len(p.files) == 0 {
		t.Fatalf("%s has no Go files", folder)
	}
	return p
}

// others parses packages outside the repository, by their paths.
func others(t *testing.T, paths ...string) map[string]*parsed {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", append([]string{"list", "-f", "{{.ImportPath}} {{.Dir}}"}, paths...)...)
	command.Dir = root
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, output)
	}
	all := make(map[string]*parsed)
	for line := range strings.Lines(string(output)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[path] = parsePackage(t, dir)
	}
	for _, path := range paths {
		if all[path] == nil || len(all[path].files) == 0 {
			t.Fatalf("go list knows no %s:\n%s", path, output)
		}
	}
	return all
}
