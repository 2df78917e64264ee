package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	commentColumns = 100 // of a line that holds only a comment
	tabColumns     = 4
)

// TestCommentColumns checks that comments on lines of their own are wrapped. It skips preformatted
// lines, directives and generated files.
func TestCommentColumns(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if base := entry.Name(); base == "kitex_gen" || strings.HasPrefix(base, ".") && path != root {
				return fs.SkipDir
			}
		case strings.HasSuffix(path, ".go"):
			checkCommentColumns(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkCommentColumns(t *testing.T, name string) {
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if ast.IsGenerated(file) {
		return
	}
	lines := strings.Split(string(source), "\n")
	for _, group := range file.Comments {
		for _, comment := range group.List {
			line := positions.Position(comment.Pos()).Line
			text := lines[line-1]
			indented, wraps := strings.CutPrefix(strings.TrimLeft(text, "\t"), "// ")
			if !wraps || strings.HasPrefix(indented, " ") {
				continue
			}
			columns := utf8.RuneCountInString(text) + (tabColumns-1)*strings.Count(text, "\t")
			if columns > commentColumns {
				t.Errorf("%s:%d: a comment of %d columns, want at most %d", name, line, columns, commentColumns)
			}
		}
	}
}
