package thrift

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
)

// go test ./codec/thrift -run TestGoldenMessages -update
var update = flag.Bool("update", false, "have Kitex's codec write the golden messages anew")

const (
	goldenFile    = "testdata/messages.txt"
	goldenResults = 4 // of each protocol
)

// TestGoldenMessages compares with the messages that Kitex v0.16.3 wrote when the file was made:
// the codec reads from them what Kitex reads, and writes them as they are. Their maps have one
// element.
func TestGoldenMessages(t *testing.T) {
	if *update {
		writeGoldenMessages(t)
	}
	text, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if want := (goldenResults + 2) * len(protocols); len(lines) != want {
		t.Fatalf("%d messages, want %d", len(lines), want)
	}
	c := NewPayloadCodec(Config{})
	for _, line := range lines {
		name, digits, _ := strings.Cut(line, ": ")
		protocol, _, _ := strings.Cut(name, ", ")
		p, known := protocols[protocol]
		want, err := hex.DecodeString(digits)
		if err != nil || !known {
			t.Fatalf("%s: %v", name, err)
		}
		read, kitex := new(types.TypesMirrorResult), new(types.TypesMirrorResult)
		n, err := decode(c, want, read)
		kitexN, kitexErr := decode(nil, want, kitex)
		if n != kitexN || !reflect.DeepEqual(err, kitexErr) || !sameValues(read, kitex) {
			t.Errorf("%s: got %d, %v, %v, Kitex %d, %v, %v", name, n, read, err, kitexN, kitex, kitexErr)
		}
		kind, data := remote.Reply, any(read)
		if strings.HasSuffix(name, "exception") {
			kind, data = remote.Exception, err
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := encode(t, c, p, kind, data); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, want)
		}
	}
}

func writeGoldenMessages(t *testing.T) {
	var b bytes.Buffer
	for _, protocol := range slices.Sorted(maps.Keys(protocols)) {
		p := protocols[protocol]
		for seed, written := uint64(0), 0; written < goldenResults; seed++ {
			v := random(newValues["Everything"], seed, 1).(*types.Everything)
			message := encode(t, nil, p, remote.Reply, &types.TypesMirrorResult{Success: v})
			if len(message) > 1500 {
				continue
			}
			// In the form in which it is read: a nil struct is written as one without fields, and
			// gets its default values.
			result := new(types.TypesMirrorResult)
			if _, err := decode(nil, message, result); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s, result %d: %x\n", protocol, written, encode(t, nil, p, remote.Reply, result))
			written++
		}
		fmt.Fprintf(&b, "%s, nothing: %x\n", protocol, encode(t, nil, p, remote.Reply, new(types.TypesMirrorResult)))
		fmt.Fprintf(&b, "%s, exception: %x\n", protocol, encode(t, nil, p, remote.Exception, errors.New("it failed")))
	}
	if err := os.WriteFile(goldenFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
