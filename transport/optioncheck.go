package transport

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/trans/detection"
	kitextransport "github.com/cloudwego/kitex/transport"
	"github.com/cloudwego/netpoll"
)

// This file refuses options that would do nothing: those for another part of the same side, and
// those whose part is not in use because of other options. (Options for the other side do not
// compile.) A client reports them as the error of NewClient, or by a panic of its options where
// none of this package's handlers is made. A server reports them as the error of Run, before it
// listens. A user's own part may wrap the suite's, so no option for that part is refused beside it.

// taker is a function that takes options.
type taker uint8

const (
	takerServerSuite taker = 1 << iota
	takerTransServer
	takerServerHandlers
	takerClientSuite
	takerMuxClientSuite
	takerClientHandlers
	takerDialer

	takersOfServers = takerServerSuite | takerTransServer | takerServerHandlers
	takersOfClients = takerClientSuite | takerMuxClientSuite | takerClientHandlers | takerDialer
)

// String returns the name of one taker, or of several.
func (t taker) String() string {
	var names []string
	for i, name := range []string{
		"NewServerSuite", "NewTransServerFactory", "NewServerTransHandlerFactory",
		"NewClientSuite", "NewMuxClientSuite", "NewClientTransHandlerFactory", "NewDialer",
	} {
		if t&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// option is an option's name.
type option string

const (
	optionGroup         option = "WithGroup"
	optionAcceptors     option = "WithAcceptors"
	optionWriteTimeout  option = "WithWriteTimeout"
	optionWatermarks    option = "WithWatermarks"
	optionMaxFrame      option = "WithMaxFrame"
	optionKitexCodec    option = "WithKitexCodec"
	optionMuxServer     option = "WithMuxServer"
	optionMux           option = "WithMux"
	optionPool          option = "WithPool"
	optionKitexTimeouts option = "WithKitexTimeouts"
)

// takers returns the functions that have a use for an option.
func (o option) takers() taker {
	const suites = takerServerSuite | takerClientSuite | takerMuxClientSuite
	switch o {
	case optionGroup, optionWatermarks:
		return suites | takerTransServer | takerDialer
	case optionAcceptors:
		return takerServerSuite | takerTransServer
	case optionWriteTimeout:
		return takersOfServers | takerClientSuite | takerMuxClientSuite | takerDialer
	case optionMaxFrame:
		return suites | takerServerHandlers | takerClientHandlers
	case optionKitexCodec:
		return suites
	case optionMuxServer:
		return takerServerSuite | takerServerHandlers
	case optionMux:
		return takerMuxClientSuite
	case optionPool:
		return takerClientSuite
	case optionKitexTimeouts:
		return takerClientSuite | takerMuxClientSuite
	}
	panic("kiteline: BUG: unknown option " + string(o))
}

// checkTaker returns an error that names each given option that t has no use for.
func (s *settings) checkTaker(t taker) error {
	side := takersOfServers
	if t&takersOfClients != 0 {
		side = takersOfClients
	}
	var errs []error
	for _, o := range s.given {
		if o.takers()&t == 0 {
			errs = append(errs, fmt.Errorf("kiteline: %s does nothing for %s: leave it out; it is for %s", o, t, o.takers()&side))
		}
	}
	return errors.Join(errs...)
}

// unused returns an error that names those of options that were given. They do nothing with
// setting.
func (s *settings) unused(setting string, options ...option) error {
	var errs []error
	for _, o := range options {
		if slices.Contains(s.given, o) {
			errs = append(errs, fmt.Errorf("kiteline: %s does nothing with %s: leave one of them out", o, setting))
		}
	}
	return errors.Join(errs...)
}

// refuse has the client with options o fail with err, unless err is nil.
func refuse(o *client.Options, err error) {
	if err == nil {
		return
	}
	handlers, ours := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
	if !ours || isGRPC(o) {
		panic(err) // as Kitex's options do
	}
	handlers.refused = errors.Join(handlers.refused, err)
	o.RemoteOpt.CliHandlerFactory = handlers
}

// isGRPC reports whether the client has Kitex's pool and handlers for gRPC.
func isGRPC(o *client.Options) bool { return o.Configs.TransportProtocol()&kitextransport.GRPC != 0 }

// poolChoice is a client suite's say in how connections are kept. Of several suites of one kind the
// last with an option for that decides, as the last of one option does: generated code may bring a
// suite, and its caller another.
type poolChoice struct {
	suite taker
	made  bool // the suite has an option for that
}

// choosePool returns the choice of a suite. options are the ones for its pool.
func (s *settings) choosePool(suite taker, options ...option) *poolChoice {
	return &poolChoice{suite, slices.ContainsFunc(options, func(o option) bool { return slices.Contains(s.given, o) })}
}

// orOf returns c, or, if c makes no choice, the one made before for o's client.
func (c *poolChoice) orOf(o *client.Options) *poolChoice {
	if before, ours := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory); ours && !c.made {
		return before.pool
	}
	if !c.made {
		return nil
	}
	return c
}

// isOverridden reports whether another suite of the same kind decides.
func (c *poolChoice) isOverridden(o *client.Options) bool {
	handlers, ours := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
	return ours && handlers.pool != nil && handlers.pool != c && handlers.pool.suite == c.suite
}

// checkDialer returns an error if options of s are for the dialer and Kitex's dialer is in use.
func (s *settings) checkDialer(o *client.Options, options ...option) error {
	if !isKitexs(o.RemoteOpt.Dialer) {
		return nil
	}
	return s.unused("another dialer (WithDialer)", options...)
}

// checkOptions is called when all options of the client are known, before the suite gives it a
// pool.
func (s clientSuite) checkOptions(o *client.Options) error {
	return errors.Join(s.settings.refused, s.checkPool(o),
		s.settings.checkDialer(o, optionGroup, optionWatermarks, optionWriteTimeout))
}

func (s clientSuite) checkPool(o *client.Options) error {
	_, long := s.poolConfig(o.PoolCfg)
	setting := ""
	switch {
	case isGRPC(o):
		setting = "gRPC"
	case o.RemoteOpt.ConnPool != nil:
		setting = "a pool that was given (WithConnPool, WithMuxConnection, another suite)"
	case multiplexes(o):
		setting = "NewMuxClientSuite"
	case !long:
		setting = "WithShortConnection"
	}
	if setting == "" {
		return nil
	}
	return s.settings.unused(setting, optionPool)
}

// checkOptions is called when all options of the client are known, before the suite gives it a
// pool.
func (s muxClientSuite) checkOptions(o *client.Options) error {
	dialed := []option{optionGroup, optionWatermarks}
	if !multiplexes(o) {
		dialed = append(dialed, optionWriteTimeout) // a pool.Mux has one, too
	}
	err := errors.Join(s.settings.refused, s.settings.checkDialer(o, dialed...))
	if setting := withoutMux(o); setting != "" {
		err = errors.Join(err, s.settings.unused(setting, optionMux))
	}
	return err
}

// withoutMux returns the setting that keeps WithMux from making a pool.Mux, or "".
func withoutMux(o *client.Options) string {
	handlers, ours := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
	switch {
	case isGRPC(o):
		return "gRPC"
	case o.RemoteOpt.ConnPool != nil:
		return "a pool that was given (WithConnPool, WithMuxConnection, another suite)"
	case !ours:
		return "other handlers (WithTransHandlerFactory, WithHTTPConnection)"
	case !framesAsKitex(o.RemoteOpt.Codec):
		return "a codec that is not Kitex's own (WithCodec), whose calls are pooled"
	case !handlers.multiplexes:
		return "handlers of one call at a time (NewClientSuite, NewClientTransHandlerFactory)"
	case !multiplexes(o):
		return "WithShortConnection"
	}
	return ""
}

// checkHandlers returns an error if options of s are for handlers and Kitex's handlers are in use.
func (s *settings) checkHandlers(opt *remote.ServerOption) error {
	if !isKitexs(opt.SvrHandlerFactory) {
		return nil
	}
	return s.unused("other handlers (WithTransHandlerFactory, WithMuxTransport)", optionMuxServer)
}

// checkTransServer returns an error if options of s are for connections of this package and Kitex's
// transport server is in use.
func (s *settings) checkTransServer(opt *remote.ServerOption) error {
	if !isKitexs(opt.TransServerFactory) {
		return nil
	}
	return s.unused("another transport server (WithTransServerFactory)",
		optionGroup, optionAcceptors, optionWatermarks, optionWriteTimeout, optionMuxServer)
}

// isKitexs reports whether v is a part of Kitex's transports, or netpoll's.
func isKitexs(v any) bool {
	t := reflect.TypeOf(v)
	if t == nil {
		return false
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	transports := path.Dir(reflect.TypeFor[detection.DetectableServerTransHandler]().PkgPath())
	return strings.HasPrefix(t.PkgPath(), transports+"/") || t.PkgPath() == reflect.TypeFor[netpoll.Dialer]().PkgPath()
}
