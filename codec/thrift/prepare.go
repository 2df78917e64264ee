package thrift

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/cloudwego/kitex/pkg/serviceinfo"

	"github.com/kiteline/kiteline/codec/thrift/internal/compiled"
	"github.com/kiteline/kiteline/codec/thrift/internal/shape"
)

// Prepare compiles types, given as structs or as pointers to structs, and all types below them,
// before the first call. Otherwise the first call for a type compiles it, which takes some tens of
// microseconds for each type; calls that come meanwhile use the types' own code.
//
// The error says for each type that cannot be compiled why, as Explain does. Such a type still
// works, only slower: a program may log the error and go on.
func Prepare(types ...reflect.Type) error {
	var failed []error
	for _, t := range types {
		if err := Explain(t); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// PrepareService calls Prepare for the arguments and results of all methods of services whose
// payload is Thrift, except streaming methods, whose messages Kitex's own codec reads. The
// generated package of a service has its ServiceInfo: echoservice.NewServiceInfo().
func PrepareService(services ...*serviceinfo.ServiceInfo) error {
	var types []reflect.Type
	for _, s := range services {
		if s.PayloadCodec != serviceinfo.Thrift {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(s.Methods)) {
			m := s.Methods[name]
			if m.StreamingMode() != serviceinfo.StreamingNone {
				continue
			}
			types = append(types, reflect.TypeOf(m.NewArgs()))
			if !m.OneWay() {
				types = append(types, reflect.TypeOf(m.NewResult()))
			}
		}
	}
	return Prepare(types...)
}

// Explain returns nil if values of type t, a struct or a pointer to one, are read and written by a
// program compiled from its tags, which is the fastest way. Otherwise the error says why the type's
// own code or Kitex's codec reads them, and whether Frugal may leave fields of another message in a
// value, as the package's documentation says. Explain compiles the type if that has not been done.
// A Family reads and writes its types, whatever Explain says.
func Explain(t reflect.Type) error {
	_, err := compiled.Of(t)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("thrift: not compiled: %w", err)
	if s, unknown := shape.Of(t); unknown == nil && s.HasStructsInMaps() {
		if _, noReader := compiled.ReaderOf(t); noReader != nil {
			return errors.Join(err, errFrugalMaps)
		}
	}
	return err
}

// errFrugalMaps is the warning for types that plan.readsForFrugal cannot help.
var errFrugalMaps = errors.New("thrift: if Frugal reads it, structs in its maps may have fields of another message")
