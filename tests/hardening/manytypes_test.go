//go:build unix

package hardening

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// Types of TestManyTypes: layers of structs, each with fields of types of the next layer.
const (
	typeLayers, typesOfLayer, fieldsOfType = 8, 125, 6

	compileTime   = 200 * time.Millisecond
	compileMemory = 64 << 20
)

// TestManyTypes lets eight callers at a time read the first value of a type with a thousand types
// below it. The test generates the types and builds them into a program of their own.
func TestManyTypes(t *testing.T) {
	if !testkit.Long {
		t.Skip("builds a program with a thousand types: -tags long")
	}
	program := buildManyTypes(t)
	alone(t)
	out, err := exec.CommandContext(t.Context(), program).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var cpu time.Duration
	var memory uint64
	if _, err := fmt.Sscan(string(out), &cpu, &memory); err != nil {
		t.Fatal(err)
	}
	checkTime(t, "codec, 1000 types compiled: processor time", cpu, compileTime)
	promise.Check(t, "codec, 1000 types compiled: memory", fmt.Sprintf("<= %d MiB", compileMemory>>20),
		fmt.Sprintf("%.1f MiB", float64(memory)/(1<<20)), memory <= compileMemory)
}

// buildManyTypes builds the program as a part of this module, without a file in its folders.
func buildManyTypes(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	fixed, err := os.ReadFile("testdata/manytypes.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("manytypes")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for name, text := range map[string]string{"main.go": string(fixed), "types.go": manyTypes()} {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(here, name)] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder, "manytypes.exe")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(folder, "overlay.json"), "-o", program, "./manytypes")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// manyTypes returns the source of the types, with shorter versions of the methods that Kitex's
// generator writes.
func manyTypes() string {
	var b strings.Builder
	b.WriteString("package main\n\nimport gopkg \"github.com/cloudwego/gopkg/protocol/thrift\"\n")
	random := rand.New(rand.NewPCG(1, 2))
	for layer := range typeLayers {
		for i := range typesOfLayer {
			var fields []string
			for range fieldsOfType {
				if layer+1 < typeLayers {
					fields = append(fields, fmt.Sprintf("S%dx%d", layer+1, random.IntN(typesOfLayer)))
				}
			}
			writeType(&b, fmt.Sprintf("S%dx%d", layer, i), fields)
		}
	}
	var roots []string
	for i := range typesOfLayer {
		roots = append(roots, fmt.Sprintf("S0x%d", i))
	}
	writeType(&b, "Root", roots)
	return b.String()
}

// writeType appends a struct with optional fields of types.
func writeType(b *strings.Builder, name string, types []string) {
	var fields, size, write, read strings.Builder
	for i, t := range types {
		fmt.Fprintf(&fields, "\tF%d *%s `frugal:\"%d,optional,%s\"`\n", i, t, i+2, t)
		fmt.Fprintf(&size, " + sizeOf(p.F%d)", i)
		fmt.Fprintf(&write, "\tn += write(b[n:], %d, p.F%d)\n", i+2, i)
		fmt.Fprintf(&read, "\t\tcase id == %d && t == 12:\n\t\t\tn, err := read(b, &p.F%d)\n\t\t\treturn n, true, err\n", i+2, i)
	}
	fmt.Fprintf(b, `
type %[1]s struct {
	Name string %[6]sfrugal:"1,default,string"%[6]s
%[2]s}

func (p *%[1]s) InitDefault() {}

func (p *%[1]s) BLength() int {
	if p == nil {
		return 1
	}
	return 1 + sizeOfText(p.Name)%[3]s
}

func (p *%[1]s) FastWriteNocopy(b []byte, _ gopkg.NocopyWriter) int {
	n := 0
	if p == nil {
		b[0] = 0
		return 1
	}
	n += writeText(b, 1, p.Name)
%[4]s	b[n] = 0
	return n + 1
}

func (p *%[1]s) FastRead(b []byte) (int, error) {
	return readFields(b, func(b []byte, id int16, t byte) (int, bool, error) {
		switch {
		case id == 1 && t == 11:
			v, n, err := gopkg.Binary.ReadString(b)
			p.Name = v
			return n, true, err
%[5]s		}
		return 0, false, nil
	})
}
`, name, fields.String(), size.String(), write.String(), read.String(), "`")
}
