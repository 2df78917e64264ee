package docs

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

// TestConfigFields: zero and nil stand for the default everywhere, and each field of a Config says
// what that is, or its type says it for all fields of a kind. Where less than zero means something
// else the field says that too.
func TestConfigFields(t *testing.T) {
	numbers := regexp.MustCompile(`(?i)\bzero or less means|\bzero means\b.*\bnegative\b|\bdefault\b|\bzero or less (is|stands)`)
	functions := regexp.MustCompile(`(?i)\bnil\b|\bmust be set\b`)
	fields := 0
	for _, folder := range append(packageFolders(t), "codec/thrift/apache") {
		if !isLibrary(folder) || strings.Contains(folder, "internal") {
			continue
		}
		for _, s := range configStructs(ours(t, folder)) {
			group := "" // the comment of a field stands for those directly below it, too
			for _, field := range s.fields {
				if field.Doc != nil || field.Comment != nil {
					group = field.Doc.Text() + field.Comment.Text()
				}
				says := numbers
				switch of := field.Type.(type) {
				case *ast.FuncType, *ast.StarExpr, *ast.ArrayType, *ast.InterfaceType:
					says = functions
				case *ast.Ident:
					if !strings.HasPrefix(of.Name, "int") {
						continue
					}
				case *ast.SelectorExpr:
					if of.Sel.Name != "Duration" {
						continue
					}
				}
				for _, name := range field.Names {
					if !token.IsExported(name.Name) {
						continue
					}
					fields++
					if !says.MatchString(plain(group + s.comment)) {
						t.Errorf("%s: %s.%s does not say what zero and nil mean", folder, s.name, name.Name)
					}
				}
			}
		}
	}
	if fields < 80 {
		t.Errorf("found only %d fields", fields)
	}
}

// configStruct is a struct that a package is configured by.
type configStruct struct {
	name    string
	comment string
	fields  []*ast.Field
}

func configStructs(p *parsed) []configStruct {
	var all []configStruct
	for _, file := range p.files {
		for _, d := range file.Decls {
			types, ok := d.(*ast.GenDecl)
			if !ok || types.Tok != token.TYPE {
				continue
			}
			for _, s := range types.Specs {
				of := s.(*ast.TypeSpec)
				body, ok := of.Type.(*ast.StructType)
				if name := of.Name.Name; ok && token.IsExported(name) && (strings.HasSuffix(name, "Config") || name == "Dialer" || name == "Limits") {
					all = append(all, configStruct{name, types.Doc.Text() + of.Doc.Text(), body.Fields.List})
				}
			}
		}
	}
	return all
}
