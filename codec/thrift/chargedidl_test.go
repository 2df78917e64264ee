package thrift

import (
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/testkit"
)

// costlyIDL has what idl/echo.thrift lacks: the types and annotations whose values cost Kitex's
// generic readers the most for each byte of a message.
const costlyIDL = `
struct Key { 1: string name }
struct Costly {
	1: map<double, bool> doubles
	2: map<bool, bool> bools
	3: list<i64> numbers (api.js_conv = "true")
	4: i64 number (api.js_conv = "true")
	5: map<i32, list<i64>> table (api.js_conv = "true")
	6: string header (api.header = "text")
	7: i32 status (api.header = "number")
	8: list<Costly> within
	9: list<Defaults> defaults
	10: list<bool> flags
	11: list<i8> bytes
	12: map<i8, map<i8, i8>> maps
	13: list<list<bool>> lists
	14: map<binary, string> binaries
	15: map<Key, string> structs
}
struct Defaults {
	1: string text = "aaaaaaaaaaaaaaaa"
	2: list<string> list = ["x", "y"]
	3: map<string, string> map = {"k": "v"}
	4: i64 number = 1234567890123456789 (api.js_conv = "true")
	5: list<i64> numbers = [1, 2, 3, 4, 5, 6, 7, 8] (api.js_conv = "true")
	6: optional Defaults next
}
exception Thrown { 1: Costly costly }
service Costs {
	Costly Get(1: Costly costly) throws (1: Thrown thrown) (api.get = "/get")
	string Text(1: Costly costly) (api.get = "/text")
	i64 Number(1: Costly costly) (api.get = "/number")
}`

// costlyReaders returns Kitex's generic readers of costlyIDL. The tests close them.
func costlyReaders(t testing.TB) []reader {
	type content = map[string]string
	plain := func() (generic.DescriptorProvider, error) {
		return generic.NewThriftContentWithAbsIncludePathProvider("costly.thrift", content{"costly.thrift": costlyIDL})
	}
	dynamic := func() (generic.DescriptorProvider, error) {
		return generic.NewThriftContentWithAbsIncludePathProviderWithDynamicGo("costly.thrift", content{"costly.thrift": costlyIDL})
	}
	var all []reader
	for _, r := range []struct {
		name string
		idl  func() (generic.DescriptorProvider, error)
		make func(generic.DescriptorProvider) (generic.Generic, error)
	}{
		{"JSON", plain, func(p generic.DescriptorProvider) (generic.Generic, error) { return generic.JSONThriftGeneric(p) }},
		{"JSON with dynamicgo", dynamic, func(p generic.DescriptorProvider) (generic.Generic, error) {
			return generic.JSONThriftGeneric(p)
		}},
		{"map", plain, generic.MapThriftGeneric},
		{"map with slices of bytes", plain, func(p generic.DescriptorProvider) (generic.Generic, error) {
			g, err := generic.MapThriftGeneric(p)
			if err == nil {
				err = generic.SetBinaryWithByteSlice(g, true)
			}
			return g, err
		}},
		{"map for JSON", plain, generic.MapThriftGenericForJSON},
		{"HTTP", plain, func(p generic.DescriptorProvider) (generic.Generic, error) { return generic.HTTPThriftGeneric(p) }},
		{"HTTP with dynamicgo", dynamic, func(p generic.DescriptorProvider) (generic.Generic, error) {
			return generic.HTTPThriftGeneric(p, generic.UseRawBodyForHTTPResp(true))
		}},
	} {
		provider, err := r.idl()
		if err != nil {
			t.Fatal(err)
		}
		g, err := r.make(provider)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.Close() })
		methods := g.GenericMethod()
		all = append(all, reader{
			r.name,
			func(method string) any { return methods(t.Context(), method).NewArgs() },
			func(method string) any { return methods(t.Context(), method).NewResult() },
		})
	}
	return all
}

// costly returns fields of a Costly by name, each with n parts of one kind.
func costly(n int) map[string]body {
	repeat := func(f func(b body, i int) body) (b body) {
		for i := range n {
			b = f(b, i)
		}
		return b
	}
	double := func(first byte) func(int) []byte {
		return func(i int) []byte { return []byte{first, 1, 2, 3, byte(i >> 16), byte(i >> 8), byte(i), 1, 1} }
	}
	wide := func(i int) []byte { return []byte{0x80, 1, 2, 3, byte(i >> 16), byte(i >> 8), byte(i), 1} }
	empty := func(int) []byte { return []byte{0} }
	return map[string]body{
		"small doubles for keys":  body{}.field(thrift.MAP, 1, table(thrift.DOUBLE, thrift.BOOL, n, double(0))...),
		"large doubles for keys":  body{}.field(thrift.MAP, 1, table(thrift.DOUBLE, thrift.BOOL, n, double(0x7f))...),
		"doubles near 1 for keys": body{}.field(thrift.MAP, 1, table(thrift.DOUBLE, thrift.BOOL, n, double(0x3f))...),
		"equal keys":              body{}.field(thrift.MAP, 2, table(thrift.BOOL, thrift.BOOL, n, func(int) []byte { return []byte{1, 1} })...),
		"mapped numbers":          body{}.field(thrift.LIST, 3, sequence(thrift.I64, n, wide)...),
		"one mapped number again": repeat(func(b body, i int) body { return b.field(thrift.I64, 4, wide(i)...) }),
		"mapped lists": body{}.field(thrift.MAP, 5, table(thrift.I32, thrift.LIST, n, func(i int) []byte {
			return append(thrift.Binary.AppendI32(nil, int32(i)), sequence(thrift.I64, 2, wide)...)
		})...),
		"headers":            repeat(func(b body, _ int) body { return b.field(thrift.STRING, 6, text("h")...) }),
		"numbers as headers": repeat(func(b body, _ int) body { return b.field(thrift.I32, 7, 1, 2, 3, 4) }),
		"empty structs":      body{}.field(thrift.LIST, 8, sequence(thrift.STRUCT, n, empty)...),
		"defaults":           body{}.field(thrift.LIST, 9, sequence(thrift.STRUCT, n, empty)...),
		"flags":              body{}.field(thrift.LIST, 10, sequence(thrift.BOOL, n, func(int) []byte { return []byte{1} })...),
		"bytes":              body{}.field(thrift.LIST, 11, sequence(thrift.BYTE, n, func(int) []byte { return []byte{0x80} })...),
		"small maps": body{}.field(thrift.MAP, 12, table(thrift.BYTE, thrift.MAP, n, func(i int) []byte {
			return append([]byte{byte(i)}, table(thrift.BYTE, thrift.BYTE, 1, func(int) []byte { return []byte{1, 1} })...)
		})...),
		"small lists": body{}.field(thrift.LIST, 13, sequence(thrift.LIST, n, func(int) []byte { return sequence(thrift.BOOL, 0, nil) })...),
	}
}

// costlyInNumbers has the constructs whose elements cost more as their number grows.
var costlyInNumbers = map[string]bool{"equal keys": true, "flags": true, "bytes": true}

// TestChargedWhateverTheIDL is TestCharged for the costliest constructs that an IDL may declare: as
// the result of a method, and in an exception that a client's reader turns into an error.
func TestChargedWhateverTheIDL(t *testing.T) {
	if testkit.Race {
		t.Skip("pools lose what they are given under the race detector")
	}
	const perCall = 24 << 10 // as in TestCharged
	numbers := []int{1000, 30_000}
	if testkit.Long {
		numbers = append(numbers, 1)
	}
	for _, r := range costlyReaders(t) {
		t.Run(r.name, func(t *testing.T) {
			for _, n := range numbers {
				for name, fields := range costly(n) {
					if n > 1000 && !costlyInNumbers[name] {
						continue
					}
					value := append(fields[:len(fields):len(fields)], 0)
					result := append(body{}.field(thrift.STRUCT, 0, value...), 0)
					thrown := append(body{}.field(thrift.STRUCT, 1, append(body{}.field(thrift.STRUCT, 1, value...), 0)...), 0)
					for where, b := range map[string]body{"result": result, "exception": thrown} {
						message := inFrame(messageOf(thrift.REPLY, "Get", b))
						account := charged(t, "Get", r.newReply("Get"), b)
						limit := (account+len(message))*5/4 + perCall
						took, ok := allocatesAtFirst(limit, func() { readAnyway(r, "Get", message) })
						if !ok {
							t.Errorf("%s in the %s, %d: took %d bytes for %d, charged %d", name, where, n, took, len(message), account)
						}
					}
				}
			}
			for _, n := range []int{1, 1 << 17} {
				for name, s := range map[string]string{"letters": "s", "controls": "\x00"} {
					b := append(body{}.field(thrift.STRING, 0, text(strings.Repeat(s, n))...), 0)
					message := inFrame(messageOf(thrift.REPLY, "Text", b))
					account, ok := accountOf("Text", r.newReply("Text"), b)
					if !ok {
						continue // the reader takes no text
					}
					limit := (account+len(message))*5/4 + perCall
					took, ok := allocatesAtFirst(limit, func() { readAnyway(r, "Text", message) })
					if !ok {
						t.Errorf("text of %d %s: took %d bytes for %d, charged %d", n, name, took, len(message), account)
					}
				}
			}
		})
	}
}

// readAnyway lets Kitex's codec read a reply. dynamicgo panics at a reply in which a struct inside
// another has a field for a header.
func readAnyway(r reader, method string, message []byte) {
	defer func() { _ = recover() }()
	_ = decodeAs(nil, remote.Reply, method, message, r.newReply(method))
}
