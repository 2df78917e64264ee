package thrift_test

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/buffer"
)

// A value is written to a buffer and read from a frame.
func ExampleUnmarshal() {
	var out buffer.LinkBuffer
	if err := thrift.Marshal(&out, &types.Point{X: 3, Y: 4}); err != nil {
		fmt.Println(err)
		return
	}
	if err := out.Flush(); err != nil {
		fmt.Println(err)
		return
	}
	frame, err := out.ReadFrame(out.Len())
	if err != nil {
		fmt.Println(err)
		return
	}
	point := types.NewPoint()
	n, err := thrift.Unmarshal(frame, point, thrift.Limits{})
	fmt.Println(point.X, point.Y, n == len(frame), err)
	// Output: 3 4 true <nil>
}

// Malformed messages are errors that say what is wrong.
func ExampleError() {
	listOf2Billion := []byte{15, 0, 2, 12, 0x7f, 0xff, 0xff, 0xff, 0}
	_, err := thrift.Unmarshal(listOf2Billion, types.NewTree(), thrift.Limits{})
	var refused *thrift.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Kind)
	}
	// Output: length above the limit
}

// Each codec has its own limits.
func ExampleNewPayloadCodec() {
	codec := thrift.NewPayloadCodec(thrift.Config{Limits: thrift.Limits{MaxFrame: 1 << 20}, CopyStrings: true})
	fmt.Println(codec.Name()) // for client.WithPayloadCodec and server.WithPayloadCodec
	// Output: Thrift
}

// Validate checks a message whose type is not known here.
func ExampleValidate() {
	n, err := thrift.Validate([]byte{8, 0, 1, 0, 0, 0, 7, 0}, thrift.Limits{})
	fmt.Println(n, err)
	_, err = thrift.Validate([]byte{8, 0, 1, 0, 0}, thrift.Limits{})
	fmt.Println(err)
	// Output:
	// 8 <nil>
	// thrift: message ends inside a value at byte 3
}

// Types are compiled before the first message comes.
func ExamplePrepare() {
	if err := thrift.Prepare(reflect.TypeFor[types.Everything]()); err != nil {
		fmt.Println(err) // the type still works, by its own code
	}
	// Output:
}

// PrepareService compiles all types that a service's methods use. The generated package of the
// service describes them.
func ExamplePrepareService() {
	fmt.Println(thrift.PrepareService(echoservice.NewServiceInfo()))
	// Output: <nil>
}

// A type without the generator's tags is left to its own code, or to Kitex's codec.
func ExampleExplain() {
	type Note struct{ Text string }
	fmt.Println(thrift.Explain(reflect.TypeFor[types.Point]()))
	fmt.Println(thrift.Explain(reflect.TypeFor[*Note]()))
	// Output:
	// <nil>
	// thrift: not compiled: thrift_test.Note: field Text: no frugal or thrift tag
}
