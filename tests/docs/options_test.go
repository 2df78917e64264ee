package docs

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestOwnOptions compares the list of Kiteline's options in docs/migration.md with the options that
// exist, and the side of each with its type.
func TestOwnOptions(t *testing.T) {
	documented := make(map[string]string)
	for _, row := range tableRows(read(t, "docs/migration.md").section(t, "## Options of Kiteline's own")) {
		documented[strings.Trim(row[0], "`")] = row[1]
	}
	sides := map[string]string{"Option": "both", "ServerOption": "server", "ClientOption": "client"}
	for name, of := range ours(t, "transport").options {
		side := sides[of]
		switch got, ok := documented[name]; {
		case !ok:
			t.Errorf("docs/migration.md does not list %s", name)
		case got != side:
			t.Errorf("docs/migration.md lists %s for %q, and its type is for %q", name, got, side)
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
