package compiled

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
)

var update = flag.Bool("update", false, "have the generated code write the golden files anew")

const goldenFile = "testdata/golden.txt"

// goldenValue returns the value whose bytes are in the golden file. Its maps have one element.
func goldenValue(newValue func() thrift.FastCodec) thrift.FastCodec { return random(newValue, 11, 1) }

func goldenName(i int) string { return fmt.Sprintf("%d %v", i, reflect.TypeOf(types[i]())) }

// TestGolden compares with the bytes that the generated code of Kitex v0.16.3 wrote when the file
// was made.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	f, err := os.Open(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string][]byte{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), ": ")
		if want[name], err = hex.DecodeString(text); err != nil {
			t.Fatal(err)
		}
	}
	if lines.Err() != nil || len(want) != len(types) {
		t.Fatalf("%d values, %v", len(want), lines.Err())
	}
	for i, newValue := range types {
		v := goldenValue(newValue)
		message := want[goldenName(i)]
		if got := encode(t, v); !bytes.Equal(got, message) {
			t.Errorf("%s:\n got %x\nwant %x", goldenName(i), got, message)
		}
		compareRead(t, newValue, message)
		read := newValue()
		if n, err := planOf(t, read).Decode(message, read, nil); err == nil && n != len(message) {
			t.Errorf("%s: read %d of %d bytes", goldenName(i), n, len(message))
		}
	}
}

func writeGolden(t *testing.T) {
	var b bytes.Buffer
	for i, newValue := range types {
		fmt.Fprintf(&b, "%s: %x\n", goldenName(i), thrift.FastMarshal(goldenValue(newValue)))
	}
	if err := os.WriteFile(goldenFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
