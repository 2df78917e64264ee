package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
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
	walk(t, func(name string) {
		if isWritten(name) && strings.HasSuffix(name, ".go") {
			checkCommentColumns(t, name)
		}
	})
}

// isWritten reports whether a file is not made by Kitex's generator.
func isWritten(name string) bool { return !strings.Contains(name, "kitex_gen/") }

func checkCommentColumns(t *testing.T, name string) {
	source := read(t, name).text
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if ast.IsGenerated(file) {
		return
	}
	lines := strings.Split(source, "\n")
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

// spellings are the words that the project writes in one way, and other ways to write them.
var spellings = map[string]*regexp.Regexp{
	"timeout":   regexp.MustCompile(`(?i)\btime-outs?\b`),
	"forever":   regexp.MustCompile(`(?i)\bfor ever\b`),
	"behaviour": regexp.MustCompile(`(?i)\bbehaviors?\b`),
	"neighbour": regexp.MustCompile(`(?i)\bneighbors?\b`),
	"writable":  regexp.MustCompile(`(?i)\bwriteable\b`),
	"dialing":   regexp.MustCompile(`(?i)\b(un)?diall(ing|ed)\b`),
}

// TestSpelling: code, comments and documents write a word in one way.
func TestSpelling(t *testing.T) {
	walk(t, func(name string) {
		if !isWritten(name) || !strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".md") || name == "tests/docs/comments_test.go" {
			return
		}
		text := read(t, name).text
		for want, other := range spellings {
			for _, at := range other.FindAllStringIndex(text, -1) {
				line := 1 + strings.Count(text[:at[0]], "\n")
				t.Errorf("%s:%d: got %q, want %q", name, line, text[at[0]:at[1]], want)
			}
		}
	})
}
