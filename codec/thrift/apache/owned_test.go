package apache_test

import (
	"fmt"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
)

// TestValuesAreOwned keeps, changes and extends the values of messages of several sizes, while more
// messages are read from the same transport.
func TestValuesAreOwned(t *testing.T) {
	type pair struct {
		text   string
		binary []byte
	}
	for _, p := range protocols {
		for _, framing := range []apache.Framing{apache.Framed, apache.Unframed} {
			t.Run(p.name+" "+framing.String(), func(t *testing.T) {
				var wire []byte
				var want [][]string
				for i, sizes := range [][]int{{0, 3, 10}, {5, 300, 5000, 7}, {40_000, 1, 200, 300, 6000}, {70_000, 12}} {
					v := value{kind: thrift.STRUCT}
					var texts []string
					for j, size := range sizes {
						text := string(deep(fmt.Sprint(i), size))
						texts = append(texts, text)
						v.ids = append(v.ids, int16(2*j+1), int16(2*j+2))
						v.elems = append(v.elems, value{kind: thrift.STRING, text: text}, value{kind: thrift.STRING, text: text})
					}
					want = append(want, texts)
					wire = append(wire, writeStock(t.Context(), p.stock, &v, framing == apache.Framed)...)
				}
				proto := p.ours(apache.NewTransport(received(wire, func() int { return 1000 }), framing, nil), nil)
				var kept [][]pair
				for range want {
					kept = append(kept, nil)
					pairs := &kept[len(kept)-1]
					ctx := t.Context()
					if _, _, _, err := proto.ReadMessageBegin(ctx); err != nil {
						t.Fatal(err)
					}
					_, _ = proto.ReadStructBegin(ctx)
					for {
						if _, kind, _, err := proto.ReadFieldBegin(ctx); err != nil || kind == thrift.STOP {
							check(err)
							break
						}
						var next pair
						var err error
						next.text, err = proto.ReadString(ctx)
						check(err)
						_, _, _, err = proto.ReadFieldBegin(ctx)
						check(err)
						next.binary, err = proto.ReadBinary(ctx)
						check(err)
						*pairs = append(*pairs, next)
					}
					check(proto.ReadStructEnd(ctx))
					check(proto.ReadMessageEnd(ctx))
				}
				for i, texts := range want {
					for j, text := range texts {
						if string(kept[i][j].binary) != text {
							t.Errorf("binary of %d bytes is not what it was", len(text))
						}
						clear(kept[i][j].binary)
						_ = append(kept[i][j].binary, "overflow"...)
					}
					for j, text := range texts {
						if kept[i][j].text != text {
							t.Errorf("string of %d bytes is not what it was", len(text))
						}
					}
				}
			})
		}
	}
}
