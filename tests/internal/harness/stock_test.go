package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const failEnv = "KITELINE_TEST_FAIL"

// TestMayBeRepeated makes tests fail in a process of its own: .ci/run repeats a test only if just
// stock peers took part in it.
func TestMayBeRepeated(t *testing.T) {
	if os.Getenv(failEnv) != "" {
		failAs(t, os.Getenv(failEnv))
		return
	}
	awk, err := exec.LookPath("awk")
	if err != nil {
		t.Skip("needs awk: ", err)
	}
	for how, want := range map[string]string{
		"stock":         "package\tTestMayBeRepeated\tTestMayBeRepeated/inner/both\n",
		"stock outside": "package\tTestMayBeRepeated\tTestMayBeRepeated/inner/server\n",
		"kiteline":      "",
		"mixed":         "",
		"ours outside":  "",
		"one of two":    "",
		"panic":         "",
		"neither":       "",
	} {
		t.Run(how, func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMayBeRepeated$")
			child.Env = append(os.Environ(), failEnv+"="+how)
			output, err := child.CombinedOutput()
			if err == nil {
				t.Fatalf("nothing failed:\n%s", output)
			}
			classify := exec.CommandContext(t.Context(), awk, "-f", filepath.Join("..", "..", "..", ".ci", "stock-failures.awk"))
			classify.Stdin = strings.NewReader("ok  \tbefore\t0.1s\n" + string(output) + "FAIL\tpackage\t0.1s\nok  \tbehind\t0.1s\nFAIL\n")
			got, err := classify.Output()
			if string(got) != want || (err == nil) != (want != "") {
				t.Errorf("got %q, %v, want %q, of\n%s", got, err, want, output)
			}
		})
	}
}

// failAs plays the child's role.
func failAs(t *testing.T, how string) {
	t.Run("passes", func(t *testing.T) { Echo(t, Kiteline, new(Service)) })
	switch how {
	case "neither":
		t.Error("failed without peers")
	case "ours outside":
		Echo(t, Kiteline, new(Service))
	case "stock outside":
		Echo(t, Netpoll, new(Service))
	}
	t.Run("inner", func(t *testing.T) {
		if how == "stock outside" || how == "ours outside" {
			t.Run("server", func(t *testing.T) {
				Echo(t, Gonet, new(Service))
				t.Error("failed")
			})
			return
		}
		serverOn, clientOn := Netpoll, Netpoll
		switch how {
		case "kiteline":
			serverOn, clientOn = Kiteline, Kiteline
		case "mixed":
			clientOn = Kiteline
		}
		t.Run("both", func(t *testing.T) {
			s := Echo(t, serverOn, new(Service))
			_ = EchoClient(t, clientOn, s.Addr)
			if how == "panic" {
				panic("a panic ends the package")
			}
			t.Error(fmt.Errorf("failed %s", how))
		})
		if how == "one of two" {
			t.Run("ours", func(t *testing.T) {
				Echo(t, Kiteline, new(Service))
				t.Error("failed, too")
			})
		}
	})
}
