package wire

import (
	"os"
	"testing"

	"github.com/cloudwego/kitex/pkg/klog"
)

// TestMain keeps Kitex from printing what hostile clients have it log.
func TestMain(m *testing.M) {
	klog.SetLevel(klog.LevelFatal)
	os.Exit(m.Run())
}
