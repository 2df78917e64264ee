package docs

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"strings"
	"testing"
	"time"
)

// TestLimits compares the table of limits in SECURITY.md with the constants that set them.
func TestLimits(t *testing.T) {
	kitexServerConfig := "github.com/cloudwego/kitex/internal/server"
	kitexRPCConfig := "github.com/cloudwego/kitex/pkg/rpcinfo"
	outside := others(t, kitexServerConfig, kitexRPCConfig)
	binary := ours(t, "codec/thrift/internal/tbinary")
	suites, mux, conn := ours(t, "transport"), ours(t, "mux"), ours(t, "transport/conn")
	server, frame, output := ours(t, "mux/muxserver"), ours(t, "mux/internal/frame"), ours(t, "mux/internal/output")

	// muxFrame is one limit that both sides and the suites have.
	muxFrame := mebibytes(evaluate(t, server, "defaultMaxFrameBytes"))
	for _, same := range []int64{
		evaluate(t, mux, "defaultMaxFrameBytes"), evaluate(t, suites, "defaultMuxFrameBytes"),
		evaluate(t, ours(t, "transport/pool"), "defaultMuxFrameBytes"),
	} {
		if mebibytes(same) != muxFrame {
			t.Errorf("one side's limit of a multiplexed message is %s, the other's %s", mebibytes(same), muxFrame)
		}
	}
	limits := []struct{ what, limit string }{
		{"payload of a message", thousands(evaluate(t, binary, "DefaultMaxFrame")) + " bytes"},
		{"a multiplexed message", muxFrame},
		{"inside one another", fmt.Sprint(evaluate(t, binary, "DefaultMaxDepth"))},
		{"counts and lengths", "what the bytes left of it can hold"},
		{"memory of all", mebibytes(evaluate(t, binary, "DefaultMaxElementBytes"))},
		{"header of TTHeader", thousands(4*evaluate(t, frame, "maxHeaderWords")) + " bytes"},
		{"rest of a request", duration(evaluate(t, outside[kitexRPCConfig], "defaultReadWriteTimeout"))},
		{"time for a peer to take", fmt.Sprintf("on shared connections %s for each %s",
			duration(evaluate(t, server, "defaultWriteTimeout")), kibibytes(evaluate(t, conn, "timedBytes")))},
		{"idle time", duration(evaluate(t, outside[kitexServerConfig], "defaultConnectionIdleTime"))},
		{"replies that wait", mebibytes(evaluate(t, output, "DefaultPendingBytes"))},
		{"requests that a server holds", mebibytes(evaluate(t, server, "defaultMaxRequestBytes"))},
		{"same for one connection", mebibytes(evaluate(t, server, "defaultMaxRequestBytesPerConn"))},
		{"for each " + kibibytes(evaluate(t, ours(t, "mux/internal/pulse"), "PieceBytes")) + " of it",
			duration(evaluate(t, outside[kitexRPCConfig], "defaultReadWriteTimeout"))},
		{"handlers at a time", fmt.Sprint(evaluate(t, server, "defaultMaxHandlersPerConn"))},
	}
	rows := tableRows(read(t, "SECURITY.md").section(t, "## What is promised"))
	checked := make(map[string]bool)
	for _, row := range rows {
		known := false
		for _, l := range limits {
			if !strings.Contains(row[0], l.what) {
				continue
			}
			known, checked[l.what] = true, true
			if !strings.Contains(" "+plain(row[1])+" ", " "+l.limit+" ") {
				t.Errorf("SECURITY.md, %q: got %q, want %q", row[0], row[1], l.limit)
			}
		}
		if !known {
			t.Errorf("SECURITY.md, %q: this test does not know where that limit is set", row[0])
		}
	}
	for _, l := range limits {
		if !checked[l.what] {
			t.Errorf("SECURITY.md lacks the limit of %q, which is %s", l.what, l.limit)
		}
	}
}

// TestFigures looks in other documents for the values of constants.
func TestFigures(t *testing.T) {
	pool, mux, binary := ours(t, "transport/pool"), ours(t, "mux"), ours(t, "codec/thrift/internal/tbinary")
	maxFrame := thousands(evaluate(t, binary, "DefaultMaxFrame")) + " bytes"
	for _, want := range []struct{ document, says string }{
		{"docs/migration.md", fmt.Sprintf("%d idle connections per address, %d in all",
			evaluate(t, pool, "defaultMaxIdlePerAddress"), evaluate(t, pool, "defaultMaxIdleGlobal"))},
		{"docs/migration.md", fmt.Sprintf("MaxPooledConns (%d)", evaluate(t, pool, "defaultMuxPooledConns"))},
		{"docs/migration.md", fmt.Sprintf("The number of connections is %d by default", evaluate(t, mux, "defaultMaxConns"))},
		{"docs/migration.md", maxFrame},
		{"docs/migration.md", "| " + mebibytes(evaluate(t, binary, "DefaultMaxElementBytes")) + " |"},
		{"docs/migration.md", fmt.Sprintf("| structs and containers inside one another | no limit | %d |", evaluate(t, binary, "DefaultMaxDepth"))},
		{"CHANGELOG.md", maxFrame[:len(maxFrame)-len(" bytes")]},
	} {
		if !strings.Contains(plain(read(t, want.document).text), want.says) {
			t.Errorf("%s does not say %q", want.document, want.says)
		}
	}
}

// evaluate returns the value of a package's constant. A duration is in nanoseconds.
func evaluate(t *testing.T, p *parsed, name string) int64 {
	t.Helper()
	e, ok := p.constants[name]
	if !ok {
		t.Fatalf("there is no constant %s", name)
	}
	value, ok := constant.Int64Val(constant.ToInt(calculate(t, p, e)))
	if !ok {
		t.Fatalf("%s is no integer", name)
	}
	return value
}

func calculate(t *testing.T, p *parsed, e ast.Expr) constant.Value {
	t.Helper()
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.ParenExpr:
		return calculate(t, p, e.X)
	case *ast.Ident:
		return calculate(t, p, p.constants[e.Name])
	case *ast.BinaryExpr:
		x, y := calculate(t, p, e.X), calculate(t, p, e.Y)
		if e.Op == token.SHL {
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(n))
		}
		return constant.BinaryOp(x, e.Op, y)
	case *ast.SelectorExpr:
		units := map[string]time.Duration{
			"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
		}
		if unit, ok := units[e.Sel.Name]; ok {
			return constant.MakeInt64(int64(unit))
		}
	}
	t.Fatalf("this test does not calculate %T", e)
	return nil
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
func kibibytes(n int64) string { return fmt.Sprintf("%d KiB", n>>10) }

func duration(n int64) string {
	if d := time.Duration(n); d >= time.Minute && d%time.Minute == 0 {
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d s", time.Duration(n)/time.Second)
}

// thousands writes n in groups of three digits.
func thousands(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
