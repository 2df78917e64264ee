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

// UnknownReaderError is the error of a message whose reader is not known well enough to check the
// message: a part of Kitex that this module reads by name is missing or different. The message is
// not at fault.
type UnknownReaderError struct {
	Reader reflect.Type // Kitex's type
	Field  string       // missing in Reader, or of another type; empty: Reader is unknown
}

// Error implements error.
func (e *UnknownReaderError) Error() string {
	s := "thrift: cannot check messages for " + e.Reader.String() + " of this version of Kitex"
	if e.Field != "" {
		s += ", whose field " + e.Field + " is not as expected"
	}
	return s + ": use another version, or Kitex's codec alone"
}

// Generic returns the reader of v, the arguments or the result of a generic call of method. payload
// is the length of the message, 0 if it is not known: some readers then read in another way.
//
// No exported API tells how Kitex reads the call, so Generic reads unexported fields by name. If
// one is missing, or Kitex has a new reader, the error is an *UnknownReaderError: without the
// declared types nothing keeps dynamicgo from taking a value for one of another type. A reader that
// is not Kitex's is treated like other code without an IDL: by the message's own types, and as the
// costliest.
func Generic(v any, method string, payload int) (Reader, error) {
	inner := fields{of: v}
	reader := get[any](&inner, "inner")
	if inner.err != nil {
		return Reader{}, inner.err
	}
	_, isResult := v.(*generic.Result)
	switch reader := reader.(type) {
	case nil, *genericthrift.RawReaderWriter: // nothing, where a payload codec reads the bytes
		return Reader{Costs: &Bytes}, nil
	case *genericthrift.JSONReaderWriter:
		return jsonReader(&fields{of: reader.ReadJSON}, method, isResult, payload)
	case *genericthrift.StructReaderWriter:
		return structReader(&fields{of: reader.ReadStruct}, method, isResult)
	case *genericthrift.HTTPReaderWriter:
		return httpReader(&fields{of: reader.ReadHTTPResponse}, method, payload)
	case *genericthrift.HTTPPbReaderWriter:
		f := &fields{of: reader.ReadHTTPPbResponse} // its costs were not measured
		return f.reader(Reader{Costs: &Any, Takes: TakesStructsAlone}, method, true)
	}
	t := reflect.TypeOf(reader)
	if isKitex(t) {
		return Reader{}, &UnknownReaderError{Reader: t}
	}
	return Reader{Costs: &Any}, nil
}

// isKitex reports whether t, or the type that it points to, is in Kitex's package of readers.
func isKitex(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == reflect.TypeFor[genericthrift.ReadJSON]().PkgPath()
}

// reader returns r with the declared type of the method's arguments or result. An undeclared method
// has none, and Kitex's readers refuse it before they read.
func (f *fields) reader(r Reader, method string, result bool) (Reader, error) {
	service := get[*descriptor.ServiceDescriptor](f, "svc")
	if f.err != nil {
		return Reader{}, f.err
	}
	if service == nil || service.Functions[method] == nil {
		return r, nil
	}
	if r.Declared = service.Functions[method].Request; result {
		r.Declared = service.Functions[method].Response
	}
	return r, nil
}

func jsonReader(f *fields, method string, result bool, payload int) (Reader, error) {
	if get[bool](f, "dynamicgoEnabled") && payload > 0 {
		return f.reader(Reader{Costs: &DynamicJSON, Fills: FillsAll, Takes: TakesSetsForLists}, method, result)
	}
	return f.reader(Reader{Costs: &JSON}, method, result)
}

func structReader(f *fields, method string, result bool) (Reader, error) {
	r := Reader{Costs: &Maps, Fills: Fills(get[uint8](f, "setFieldsForEmptyStruct"))}
	if get[bool](f, "forJSON") {
		r.Costs = &TextMaps
	}
	if get[bool](f, "binaryWithByteSlice") {
		r.Takes = TakesByteSlices
	}
	return f.reader(r, method, result)
}

// httpReader returns the reader of HTTP responses, which always reads a method's result.
func httpReader(f *fields, method string, payload int) (Reader, error) {
	if get[bool](f, "dynamicgoEnabled") && payload > 0 {
		return f.reader(Reader{Costs: &DynamicHTTP, Fills: FillsAll, Takes: TakesSetsForLists}, method, true)
	}
	r := Reader{Costs: &TextMaps, Takes: TakesStructsAlone}
	if get[bool](f, "useRawBodyForHTTPResp") {
		r.Costs = &JSON
	}
	return f.reader(r, method, true)
}
