package docs

import (
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	kitexServer = "github.com/cloudwego/kitex/server"
	kitexClient = "github.com/cloudwego/kitex/client"
)

// named are this project's packages by their names in documents.
var named = map[string]string{
	"kiteline":    "transport",
	"transport":   "transport",
	"thrift":      "codec/thrift",
	"wire":        "codec/thrift/wire",
	"apache":      "codec/thrift/apache",
	"mux":         "mux",
	"muxserver":   "mux/muxserver",
	"conn":        "transport/conn",
	"poller":      "transport/poller",
	"buffer":      "transport/buffer",
	"netpollconn": "transport/netpollconn",
	"pool":        "transport/pool",
}

// namedOutside are other projects' packages that documents call by the last part of their path.
var namedOutside = map[string]string{
	"server":    kitexServer,
	"client":    kitexClient,
	"callopt":   "github.com/cloudwego/kitex/client/callopt",
	"kerrors":   "github.com/cloudwego/kitex/pkg/kerrors",
	"transmeta": "github.com/cloudwego/kitex/pkg/transmeta",
	"detection": "github.com/cloudwego/kitex/pkg/remote/trans/detection",
	"connpool":  "github.com/cloudwego/kitex/pkg/remote/connpool",
	"diagnosis": "github.com/cloudwego/kitex/pkg/diagnosis",
	"netpoll":   "github.com/cloudwego/netpoll",
}

// TestQualifiedNames looks up names in backticks of the form package.Name or Type.Name.
func TestQualifiedNames(t *testing.T) {
	qualified := regexp.MustCompile(`^\*?([A-Za-z]\w*)\.([A-Z]\w*)(\.[A-Z]\w*)?(\(.*)?$`)
	packages := make(map[string]*parsed)
	for name, folder := range named {
		packages[name] = ours(t, folder)
	}
	outside := others(t, slices.Collect(maps.Values(namedOutside))...)
	for name, path := range namedOutside {
		packages[name] = outside[path]
	}
	types := make(map[string][]*parsed)
	for _, p := range packages {
		for exported := range p.api {
			if token.IsExported(exported) && !strings.Contains(exported, ".") {
				types[exported] = append(types[exported], p)
			}
		}
	}
	found := 0
	for _, d := range documents(t) {
		for _, span := range spans(d.current()) {
			match := qualified.FindStringSubmatch(span)
			if match == nil {
				continue
			}
			name, in := match[2]+match[3], []*parsed{packages[match[1]]}
			if in[0] == nil {
				name, in = match[1]+"."+name, types[match[1]]
			}
			if len(in) == 0 {
				continue // a package of the standard library, or not a name
			}
			found++
			if !slices.ContainsFunc(in, func(p *parsed) bool { _, ok := p.api[name]; return ok }) {
				t.Errorf("%s names %s, which does not exist", d.name, span)
			}
		}
	}
	if found < 50 {
		t.Errorf("looked up only %d names", found)
	}
}

// TestOptionNames looks up the options that documents name without their package.
func TestOptionNames(t *testing.T) {
	option := regexp.MustCompile(`^(With[A-Z]\w*)(\(.*)?$`)
	known := make(map[string]bool)
	add := func(p *parsed) {
		for name := range p.api {
			known[name] = true
		}
	}
	for _, folder := range []string{"transport", "codec/thrift", "codec/thrift/wire", "codec/thrift/apache"} {
		add(ours(t, folder))
	}
	for _, p := range others(t, kitexServer, kitexClient, namedOutside["callopt"]) {
		add(p)
	}
	for _, d := range documents(t) {
		for _, span := range spans(d.current()) {
			if match := option.FindStringSubmatch(span); match != nil && !known[match[1]] {
				t.Errorf("%s names the option %s, which does not exist", d.name, span)
			}
		}
	}
}

// TestTestNames looks up the tests that documents name. In a row of a table they must be in the
// folder that the row names before them.
func TestTestNames(t *testing.T) {
	test := regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)[A-Z]\w*$`)
	everywhere := make(map[string]bool)
	in := make(map[string]map[string]bool)
	walk(t, func(name string) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		folder := name[:strings.LastIndex(name, "/")]
		if in[folder] == nil {
			in[folder] = make(map[string]bool)
		}
		for _, match := range testFunction.FindAllStringSubmatch(read(t, name).text, -1) {
			everywhere[match[1]], in[folder][match[1]] = true, true
		}
	})
	for _, d := range documents(t) {
		for line := range strings.Lines(d.prose()) {
			among := everywhere
			for _, span := range spans(line) {
				switch {
				case strings.HasPrefix(line, "|") && in[span] != nil:
					among = in[span]
				case test.MatchString(span) && span != exampleOfName && !among[span]:
					t.Errorf("%s names %s, which does not exist there: %s", d.name, span, line)
				}
			}
		}
	}
}

// exampleOfName is CONTRIBUTING.md's example of a test's name.
const exampleOfName = "TestIssue123"

var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
