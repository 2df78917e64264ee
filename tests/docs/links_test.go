package docs

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// TestLinks follows every link of every document that leads to a file of the repository or to a
// heading.
func TestLinks(t *testing.T) {
	followed := 0
	for _, d := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(d.prose(), -1) {
			target := match[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			followed++
			file, fragment, _ := strings.Cut(target, "#")
			name := d.name
			if file != "" {
				name = path.Join(path.Dir(d.name), file)
			}
			if !exists(name) {
				t.Errorf("%s: the link %q leads nowhere", d.name, target)
				continue
			}
			if fragment != "" && !anchors(read(t, name))[fragment] {
				t.Errorf("%s: the link %q leads to no heading of %s", d.name, target, name)
			}
		}
	}
	if followed < 20 {
		t.Errorf("followed only %d links", followed)
	}
}

// anchors returns the anchors of a document's headings.
func anchors(d document) map[string]bool {
	all := make(map[string]bool)
	for _, match := range heading.FindAllStringSubmatch(d.prose(), -1) {
		all[anchor(match[1])] = true
	}
	return all
}

// anchor returns a heading's anchor as sites that show Markdown make it.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
			return r
		}
		return -1
	}, strings.ToLower(heading))
}

// TestFiles looks up the files and folders of the repository that documents name in backticks.
func TestFiles(t *testing.T) {
	inFolder := regexp.MustCompile(`^(codec|docs|examples|idl|internal|mux|tests|tools|transport)/[\w./-]+$`)
	alone := regexp.MustCompile(`^[\w-]+\.(go|md)$`)
	files := make(map[string]bool)
	walk(t, func(name string) { files[path.Base(name)] = true })
	for _, d := range documents(t) {
		for _, span := range spans(d.prose()) {
			switch {
			case inFolder.MatchString(span) && !exists(span) && !exists(path.Join(path.Dir(d.name), span)):
				t.Errorf("%s names %q, which does not exist", d.name, span)
			case alone.MatchString(span) && !files[span]:
				t.Errorf("%s names %q, and there is no file of that name", d.name, span)
			}
		}
	}
}
