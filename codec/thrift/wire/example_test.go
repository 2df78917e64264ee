package wire_test

import (
	"fmt"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/codec/thrift/wire"
)

// A server that accepts compact and THeader clients, of messages up to 1 MiB.
func ExampleNewCodec() {
	codec := wire.NewCodec(wire.Config{Limits: thrift.Limits{MaxFrame: 1 << 20}})
	options := []server.Option{
		// server.WithSuite(kiteline.NewServerSuite()),
		server.WithCodec(codec),
	}
	fmt.Println(codec.Name(), len(options))
	// Output: kiteline/wire+default 1
}
