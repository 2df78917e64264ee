package behaviour

import (
	"testing"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) { harness.Main(m) }

// echoClient is the client that most tests call.
type echoClient = echoservice.Client
