package conn_test

import (
	"flag"
	"os"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit/leak"
)

// shortageEnv tells the test binary that it is the child of TestShortage.
const shortageEnv = "KITELINE_TEST_SHORTAGE"

// TestMain fails the run if goroutines, descriptors or pooled blocks outlive the tests.
func TestMain(m *testing.M) {
	// Tests that run side by side here spend most of their time waiting.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	flag.Parse()
	if len(os.Args) > 1 && os.Getenv(shortageEnv) != "" {
		os.Exit(m.Run()) // the child of TestShortage: its parent looks after it
	}
	leak.Main(m)
}
