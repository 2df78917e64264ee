package docs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOwnOptions compares the list of Kiteline's options in docs/migration.md with the options that
// exist, and the side of each with its documentation.
func TestOwnOptions(t *testing.T) {
	documented := make(map[string]string)
	for _, row := range tableRows(read(t, "docs/migration.md").section(t, "## Options of Kiteline's own")) {
		documented[strings.Trim(row[0], "`")] = row[1]
	}
	noMeaning := regexp.MustCompile(`no meaning for a (client|server)\b`)
	suites := ours(t, "transport")
	for name := range suites.options {
		side := "both"
		if match := noMeaning.FindStringSubmatch(plain(suites.api[name])); match != nil {
			side = map[string]string{"client": "server", "server": "client"}[match[1]]
		}
		switch got, ok := documented[name]; {
		case !ok:
			t.Errorf("docs/migration.md does not list %s", name)
		case got != side:
			t.Errorf("docs/migration.md lists %s for %q, and its comment says %q", name, got, side)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("docs/migration.md lists %s, which does not exist", name)
	}
}

// TestKitexOptions checks that docs/migration.md describes the effect of each of Kitex's options,
// except those that never reach the transport.
func TestKitexOptions(t *testing.T) {
	aboveTransport := map[string][]string{
		kitexServer: {
			"WithACLRules", "WithCompatibleMiddlewareForUnary", "WithContextBackup", "WithLogger",
			"WithMiddleware", "WithMiddlewareBuilder", "WithRecvMiddleware", "WithRecvMiddlewareBuilder",
			"WithRegistryInfo", "WithSendMiddleware", "WithSendMiddlewareBuilder", "WithServerBasicInfo",
			"WithMultiProtocol", "WithSuite",
		},
		kitexClient: {
			"WithACLRules", "WithClientBasicInfo", "WithConnMetric", "WithContextBackup", "WithDestService",
			"WithFramedTransport", "WithInstanceMW", "WithLogger", "WithMiddleware", "WithMiddlewareBuilder", "WithTag",
		},
	}
	headings := map[string]string{kitexServer: "## Server options", kitexClient: "## Client options"}
	migration := read(t, "docs/migration.md")
	for path, p := range others(t, kitexServer, kitexClient) {
		documented := make(map[string]bool)
		for _, row := range tableRows(migration.section(t, headings[path])) {
			for _, span := range spans(row[0]) {
				documented[span] = true
			}
		}
		for _, name := range slices.Sorted(maps.Keys(p.options)) {
			if documented[name] || slices.Contains(aboveTransport[path], name) {
				continue
			}
			t.Errorf("%q of docs/migration.md does not list %s.%s", headings[path], path, name)
		}
	}
}
