package charge

import (
	"reflect"

	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/generic/descriptor"
	genericthrift "github.com/cloudwego/kitex/pkg/generic/thrift"
)

// IsGeneric reports whether values of type t are the arguments or the result of a generic call.
func IsGeneric(t reflect.Type) bool {
	return t == reflect.TypeFor[*generic.Args]() || t == reflect.TypeFor[*generic.Result]()
}

// Generic returns the reader of v, the arguments or the result of a generic call of method. payload is how
// long the message is, 0 if that is not known: some readers then go another way. A reader that is not known costs as much as
// the costliest.
func Generic(v any, method string, payload int) Reader {
	inner, ok := unexported[any](v, "inner")
	if !ok {
		return Reader{Costs: &Any}
	}
	var r Reader
	var service *descriptor.ServiceDescriptor
	switch inner := inner.(type) {
	case nil, *genericthrift.RawReaderWriter: // nothing, where a payload codec reads the bytes
		return Reader{Costs: &Bytes}
	case *genericthrift.JSONReaderWriter:
		r, service = jsonReader(inner.ReadJSON, payload)
	case *genericthrift.StructReaderWriter:
		r, service = structReader(inner.ReadStruct)
	case *genericthrift.HTTPReaderWriter:
		r, service = httpReader(inner.ReadHTTPResponse, payload)
	default: // HTTP with Protobuf has costs that nobody has measured
		return Reader{Costs: &Any}
	}
	if service == nil || service.Functions[method] == nil {
		return r
	}
	f := service.Functions[method]
	if _, isResult := v.(*generic.Result); isResult {
		r.Declared = f.Response
	} else {
		r.Declared = f.Request
	}
	return r
}

func jsonReader(v *genericthrift.ReadJSON, payload int) (Reader, *descriptor.ServiceDescriptor) {
	service, _ := unexported[*descriptor.ServiceDescriptor](v, "svc")
	if dynamic, ok := unexported[bool](v, "dynamicgoEnabled"); ok && dynamic && payload > 0 {
		return Reader{Costs: &DynamicJSON, Fills: FillsAll}, service
	}
	return Reader{Costs: &JSON}, service
}

func structReader(v *genericthrift.ReadStruct) (Reader, *descriptor.ServiceDescriptor) {
	service, _ := unexported[*descriptor.ServiceDescriptor](v, "svc")
	mode, ok := unexported[uint8](v, "setFieldsForEmptyStruct")
	if !ok {
		mode = uint8(FillsAll)
	}
	if forJSON, ok := unexported[bool](v, "forJSON"); ok && forJSON {
		return Reader{Costs: &TextMaps, Fills: Fills(mode)}, service
	}
	return Reader{Costs: &Maps, Fills: Fills(mode)}, service
}

func httpReader(v *genericthrift.ReadHTTPResponse, payload int) (Reader, *descriptor.ServiceDescriptor) {
	service, _ := unexported[*descriptor.ServiceDescriptor](v, "svc")
	if dynamic, ok := unexported[bool](v, "dynamicgoEnabled"); ok && dynamic && payload > 0 {
		return Reader{Costs: &DynamicJSON, Fills: FillsAll}, service
	}
	if raw, ok := unexported[bool](v, "useRawBodyForHTTPResp"); ok && !raw {
		return Reader{Costs: &TextMaps}, service
	}
	return Reader{Costs: &JSON}, service
}
