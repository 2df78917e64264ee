package wire

import (
	"os"
	"testing"

	"github.com/cloudwego/kitex/pkg/klog"
)

// TestMain keeps Kitex from printing the log lines that hostile clients cause.
func TestMain(m *testing.M) {
	klog.SetLevel(klog.LevelFatal)
	os.Exit(m.Run())
}
