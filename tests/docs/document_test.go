package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository's root, seen from this folder.
var root = filepath.Join("..", "..")

// document is one of the project's Markdown files.
type document struct {
	name string // from the repository's root, with slashes
	text string
}

// documents returns every Markdown file of the repository.
func documents(t *testing.T) []document {
	t.Helper()
	var all []document
	walk(t, func(name string) {
		if strings.HasSuffix(name, ".md") {
			all = append(all, read(t, name))
		}
	})
	if len(all) < 8 {
		t.Fatalf("found %d documents", len(all))
	}
	return all
}

// walk calls visit with every file of the repository, named from its root with slashes.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && (entry.Name() == ".git" || entry.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		visit(filepath.ToSlash(name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return document{name, string(text)}
}

// exists reports whether the repository has a file or folder of that name.
func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

// section returns the text below a heading, up to the next heading of the same or a higher level.
func (d document) section(t *testing.T, heading string) string {
	t.Helper()
	level, _, _ := strings.Cut(heading, " ")
	var lines []string
	found := false
	for line := range strings.Lines(d.text) {
		hashes, _, isHeading := strings.Cut(line, " ")
		isHeading = isHeading && hashes != "" && strings.Trim(hashes, "#") == ""
		switch {
		case strings.TrimSpace(line) == heading:
			found = true
		case found && isHeading && len(hashes) <= len(level):
			return strings.Join(lines, "")
		case found:
			lines = append(lines, line)
		}
	}
	if !found {
		t.Fatalf("%s has no heading %q", d.name, heading)
	}
	return strings.Join(lines, "")
}

// tableRows returns the cells of the tables in text, without heads and rulers.
func tableRows(text string) [][]string {
	var rows [][]string
	inTable := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case strings.Trim(line, "|-: ") == "" && strings.Contains(line, "--"):
			inTable = true
		case inTable:
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

var (
	fence    = regexp.MustCompile("(?ms)^```.*?^```$")
	codeSpan = regexp.MustCompile("`([^`\n]+)`")

	renamed   = regexp.MustCompile(`(?m)^\| before \| now \|\n(\|.*\n)+`)
	firstCell = regexp.MustCompile(`(?m)^\|[^|]*\|`)
)

// prose returns the document without its blocks of code.
func (d document) prose() string { return fence.ReplaceAllString(d.text, "") }

// current returns the prose without names that are gone: the column "before" of a table that begins
// with the columns "before" and "now".
func (d document) current() string {
	return renamed.ReplaceAllStringFunc(d.prose(), func(table string) string {
		return firstCell.ReplaceAllString(table, "|")
	})
}

// spans returns the texts between single backticks.
func spans(text string) []string {
	var all []string
	for _, match := range codeSpan.FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}

// plain joins the lines of text and drops its markup, for comparisons.
func plain(text string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("`", "", "*", "").Replace(text)), " ")
}
