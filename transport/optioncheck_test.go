package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/remote/trans/detection"
	"github.com/cloudwego/kitex/pkg/remote/trans/gonet"
	"github.com/cloudwego/kitex/pkg/remote/trans/netpoll"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/pool"
)

// everyServerOption returns one ServerOption of each kind.
func everyServerOption(t *testing.T) map[option]ServerOption {
	all := map[option]ServerOption{
		optionAcceptors: WithAcceptors(2),
		optionMuxServer: WithMuxServer(MuxServerConfig{}),
	}
	for name, opt := range everyOption(t) {
		all[name] = opt
	}
	return all
}

// everyClientOption returns one ClientOption of each kind.
func everyClientOption(t *testing.T) map[option]ClientOption {
	all := map[option]ClientOption{
		optionMux:           WithMux(pool.MuxConfig{}),
		optionPool:          WithPool(pool.Config{}),
		optionKitexTimeouts: WithKitexTimeouts(),
	}
	for name, opt := range everyOption(t) {
		all[name] = opt
	}
	return all
}

// everyOption returns one Option of each kind, for servers and clients alike.
func everyOption(t *testing.T) map[option]Option {
	return map[option]Option{
		optionGroup:        WithGroup(newTestGroup(t)),
		optionWriteTimeout: WithWriteTimeout(time.Second),
		optionWatermarks:   WithWatermarks(1, 2, func(*conn.Conn, conn.Pressure) {}),
		optionMaxFrame:     WithMaxFrame(1 << 20),
		optionKitexCodec:   WithKitexCodec(),
	}
}

// caught returns what f returns or panics with.
func caught(f func() error) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("panic: %w", v)
		default:
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return f()
}

// makeClient makes a client and returns NewClient's error, or what an option panics with.
func makeClient(opts ...client.Option) error {
	return caught(func() error {
		_, err := echoservice.NewClient("echo", append(opts, client.WithHostPorts("127.0.0.1:1"))...)
		return err
	})
}

// errListens ends a server whose options are right.
var errListens = errors.New("it listens")

// runServer returns the error of a server's Run. The server must not listen unless its options are
// right.
func runServer(opts ...server.Option) error {
	srv := echoservice.NewServer(&echoHandler{}, append(opts,
		server.WithServiceAddr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}),
		server.WithExitSignal(func() <-chan error {
			stop := make(chan error, 1)
			stop <- errListens
			return stop
		}))...)
	if err := srv.Run(); !errors.Is(err, errListens) {
		return err
	}
	return nil
}

// refusedListener is given to a server that must not serve it.
type refusedListener struct {
	net.Listener
	accepts, closes int
}

func (l *refusedListener) Accept() (net.Conn, error) {
	l.accepts++
	return nil, net.ErrClosed
}

func (l *refusedListener) Close() error {
	l.closes++
	return l.Listener.Close()
}

// serverTakers returns, for each function that takes a ServerOption, a function that gives it one
// and returns the outcome.
func serverTakers(t *testing.T) map[taker]func(opt ServerOption) error {
	group := WithGroup(newTestGroup(t))
	return map[taker]func(opt ServerOption) error{
		takerServerSuite: func(opt ServerOption) error { return runServer(server.WithSuite(NewServerSuite(group, opt))) },
		takerTransServer: func(opt ServerOption) error {
			return runServer(server.WithSuite(NewServerSuite()), server.WithTransServerFactory(NewTransServerFactory(group, opt)))
		},
		takerServerHandlers: func(opt ServerOption) error {
			return runServer(server.WithSuite(NewServerSuite(group)), server.WithTransHandlerFactory(detection.NewSvrTransHandlerFactory(
				NewServerTransHandlerFactory(opt), nphttp2.NewSvrTransHandlerFactory())))
		},
	}
}

// clientTakers is serverTakers for a ClientOption.
func clientTakers() map[taker]func(opt ClientOption) error {
	return map[taker]func(opt ClientOption) error{
		takerClientSuite:    func(opt ClientOption) error { return makeClient(client.WithSuite(NewClientSuite(opt))) },
		takerMuxClientSuite: func(opt ClientOption) error { return makeClient(client.WithSuite(NewMuxClientSuite(opt))) },
		takerClientHandlers: func(opt ClientOption) error {
			return makeClient(client.WithSuite(NewClientSuite()), client.WithTransHandlerFactory(NewClientTransHandlerFactory(opt)))
		},
		takerDialer: func(opt ClientOption) error {
			return caught(func() error {
				NewDialer(opt)
				return nil
			})
		},
	}
}

// TestOptionsForAnotherPart gives each option to each function of its side that takes options. An
// option that would do nothing is refused by name, and no other is.
func TestOptionsForAnotherPart(t *testing.T) {
	captureLogs(t)
	takes := map[option]string{
		optionGroup:         "server transserver client mux dialer",
		optionAcceptors:     "server transserver",
		optionWriteTimeout:  "server transserver handlers client mux dialer",
		optionWatermarks:    "server transserver client mux dialer",
		optionMaxFrame:      "server handlers client mux clienthandlers",
		optionKitexCodec:    "server client mux",
		optionMuxServer:     "server handlers",
		optionMux:           "mux",
		optionPool:          "client",
		optionKitexTimeouts: "client mux",
	}
	names := map[taker]string{
		takerServerSuite: "server", takerTransServer: "transserver", takerServerHandlers: "handlers",
		takerClientSuite: "client", takerMuxClientSuite: "mux", takerClientHandlers: "clienthandlers", takerDialer: "dialer",
	}
	check := func(name option, of taker, err error) {
		want := string(name) + " does nothing for " + of.String() + ": leave it out; it is for New"
		if slices.Contains(strings.Fields(takes[name]), names[of]) {
			want = ""
		}
		wantError(t, fmt.Sprintf("%s of %s", name, of), err, want)
	}
	for of, try := range serverTakers(t) {
		for name, opt := range everyServerOption(t) {
			check(name, of, try(opt))
		}
	}
	for of, try := range clientTakers() {
		for name, opt := range everyClientOption(t) {
			check(name, of, try(opt))
		}
	}
}

// TestOptionsForTheOtherSide: what makes a server takes no option for clients only, and what makes
// a client none for servers only. The compiler refuses such an argument, since its type is not
// assignable to the parameter's. No type of another package is either: the methods are unexported.
func TestOptionsForTheOtherSide(t *testing.T) {
	ofServer, ofClient := reflect.TypeFor[ServerOption](), reflect.TypeFor[ClientOption]()
	for side, constructors := range map[reflect.Type][]any{
		ofServer: {NewServerSuite, NewTransServerFactory, NewServerTransHandlerFactory},
		ofClient: {NewClientSuite, NewMuxClientSuite, NewClientTransHandlerFactory, NewDialer},
	} {
		for _, constructor := range constructors {
			f := reflect.TypeOf(constructor)
			if !f.IsVariadic() || f.NumIn() != 1 || f.In(0).Elem() != side {
				t.Errorf("got %v, want a func(...%v)", f, side)
			}
		}
	}
	for _, tc := range []struct {
		name           string
		option         any
		server, client bool
	}{
		{"WithGroup", WithGroup, true, true},
		{"WithWriteTimeout", WithWriteTimeout, true, true},
		{"WithWatermarks", WithWatermarks, true, true},
		{"WithMaxFrame", WithMaxFrame, true, true},
		{"WithKitexCodec", WithKitexCodec, true, true},
		{"WithAcceptors", WithAcceptors, true, false},
		{"WithMuxServer", WithMuxServer, true, false},
		{"WithMux", WithMux, false, true},
		{"WithPool", WithPool, false, true},
		{"WithKitexTimeouts", WithKitexTimeouts, false, true},
	} {
		given := reflect.TypeOf(tc.option).Out(0)
		if server, client := given.AssignableTo(ofServer), given.AssignableTo(ofClient); server != tc.server || client != tc.client {
			t.Errorf("%s: for servers %t, for clients %t, want %t and %t", tc.name, server, client, tc.server, tc.client)
		}
	}
	for _, side := range []reflect.Type{ofServer, ofClient} {
		for i := range side.NumMethod() {
			if side.Method(i).IsExported() {
				t.Errorf("%v: %s is exported: another package can make such an option", side, side.Method(i).Name)
			}
		}
	}
}

// TestEveryOption: the tests of options cover every option that is declared, on each side that its
// type lets it be given to.
func TestEveryOption(t *testing.T) {
	declared := make(map[string]string)
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	declaration := regexp.MustCompile(`(?m)^func (With\w+)\(.*\) (\w*Option) \{`)
	for _, file := range files {
		text, err := os.ReadFile(file.Name())
		if err != nil || strings.HasSuffix(file.Name(), "_test.go") {
			continue // a directory
		}
		for _, match := range declaration.FindAllStringSubmatch(string(text), -1) {
			declared[match[1]] = match[2]
		}
	}
	tried := make(map[string]string)
	for name := range everyServerOption(t) {
		tried[string(name)] = "ServerOption"
	}
	for name := range everyClientOption(t) {
		tried[string(name)] = "ClientOption"
	}
	for name := range everyOption(t) {
		tried[string(name)] = "Option"
	}
	if !maps.Equal(declared, tried) {
		t.Errorf("declared are %v, tried are %v", declared, tried)
	}
}

// TestOptionsWithoutUse gives options together with settings that leave them nothing to do.
func TestOptionsWithoutUse(t *testing.T) {
	captureLogs(t)
	opts := everyClientOption(t)
	conns, shared := pool.New("echo", pool.Config{}), pool.NewMux("echo", pool.MuxConfig{})
	defer conns.Close()
	defer shared.Close()
	stockDialer := client.WithDialer(gonet.NewDialer())
	netpollsDialer := netpoll.NewDialer()
	if netpollsDialer == nil { // netpoll has none on Windows
		netpollsDialer = gonet.NewDialer()
	}
	for _, tc := range []struct {
		setting  string
		opts     []client.Option
		pooled   string // the options that NewClientSuite refuses
		sharing  string // those that NewMuxClientSuite refuses
		panicked bool   // none of our handlers is made
	}{
		{"nothing else", nil, "", "", false},
		{"WithLongConnection", []client.Option{client.WithLongConnection(connpool.IdleConfig{MaxIdleTimeout: time.Minute})}, "", "", false},
		{"WithShortConnection", []client.Option{client.WithShortConnection()}, "WithPool", "WithMux", false},
		{"WithConnPool", []client.Option{client.WithConnPool(conns)}, "WithPool", "WithMux", false},
		{"gRPC", []client.Option{client.WithTransportProtocol(kitextransport.GRPC)}, "WithPool", "WithMux", true},
		{"WithMuxConnection", []client.Option{client.WithMuxConnection(1)}, "WithPool", "WithMux", true},
		{"WithCodec", []client.Option{client.WithCodec(markingCodec{codec.NewDefaultCodec()})}, "", "WithMux", false},
		{"our handlers", []client.Option{client.WithTransHandlerFactory(NewClientTransHandlerFactory())}, "", "WithMux", false},
		{"other handlers", []client.Option{client.WithTransHandlerFactory(plainHandlers{NewClientTransHandlerFactory()})}, "", "WithMux", true},
		{"WithDialer", []client.Option{stockDialer}, "WithGroup WithWatermarks WithWriteTimeout", "WithGroup WithWatermarks", false},
		{"netpoll's dialer", []client.Option{client.WithDialer(netpollsDialer)}, "WithGroup WithWatermarks WithWriteTimeout", "WithGroup WithWatermarks", false},
		{"WithDialer and a short one", []client.Option{stockDialer, client.WithShortConnection()}, "WithGroup WithWatermarks WithWriteTimeout WithPool", "WithGroup WithWatermarks WithWriteTimeout WithMux", false},
		{"a user's dialer", []client.Option{client.WithDialer(&plainDialer{NewDialer()})}, "", "", false},
		{"NewClientSuite after it", []client.Option{client.WithSuite(NewClientSuite())}, "", "WithMux", false},
		{"NewMuxClientSuite after it", []client.Option{client.WithSuite(NewMuxClientSuite())}, "WithPool", "", false},
	} {
		for name, opt := range opts {
			for _, side := range []struct {
				suite   client.Suite
				taker   taker
				refused string
			}{
				{NewClientSuite(opt), takerClientSuite, tc.pooled},
				{NewMuxClientSuite(opt), takerMuxClientSuite, tc.sharing},
			} {
				if name.takers()&side.taker == 0 {
					continue
				}
				what, want := fmt.Sprintf("%s: %s of %s", tc.setting, name, side.taker), ""
				if slices.Contains(strings.Fields(side.refused), string(name)) {
					want = string(name) + " does nothing with "
				}
				err := makeClient(append([]client.Option{client.WithSuite(side.suite)}, tc.opts...)...)
				wantError(t, what, err, want)
				if err != nil && strings.HasPrefix(err.Error(), "panic: ") != tc.panicked {
					t.Errorf("%s: got %v, panicked %v", what, err, !tc.panicked)
				}
			}
		}
	}
	wantError(t, "WithMux beside a pool.Mux", makeClient(client.WithSuite(NewMuxClientSuite(opts[optionMux])), client.WithConnPool(shared)), "WithMux does nothing with ")
	both := makeClient(client.WithSuite(NewClientSuite(opts[optionPool], opts[optionMux])), client.WithShortConnection())
	wantError(t, "two", both, "WithPool does nothing with WithShortConnection")
	wantError(t, "two", both, "WithMux does nothing for NewClientSuite")
	two := caught(func() error {
		NewDialer(opts[optionPool], opts[optionMux])
		return nil
	})
	wantError(t, "two of a dialer", two, "WithPool does nothing for NewDialer")
	wantError(t, "two of a dialer", two, "WithMux does nothing for NewDialer")
}

// TestServerOptionsWithoutUse gives a server options together with settings that leave them nothing
// to do.
func TestServerOptionsWithoutUse(t *testing.T) {
	captureLogs(t)
	opts := everyServerOption(t)
	for _, tc := range []struct {
		setting string
		opt     server.Option
		refused string
	}{
		{"WithMuxTransport", server.WithMuxTransport(), "WithMuxServer"},
		{"WithTransHandlerFactory", server.WithTransHandlerFactory(detection.NewSvrTransHandlerFactory(NewServerTransHandlerFactory())), "WithMuxServer"},
		{"a wrapped handler factory", server.Option{F: func(o *server.Options, _ *utils.Slice) {
			o.RemoteOpt.SvrHandlerFactory = wrappedHandlers{o.RemoteOpt.SvrHandlerFactory}
		}}, ""},
		{"WithTransServerFactory", server.WithTransServerFactory(gonet.NewTransServerFactory()), "WithMuxServer WithGroup WithAcceptors WithWatermarks WithWriteTimeout"},
	} {
		for name, opt := range opts {
			want := ""
			if slices.Contains(strings.Fields(tc.refused), string(name)) {
				want = string(name) + " does nothing with "
			}
			suite := []ServerOption{opt}
			if !strings.Contains(tc.refused, "WithGroup") {
				suite = append(suite, opts[optionGroup])
			} else if want == "" {
				continue // a stock server that stops this early leaves its listener open
			}
			err := runServer(server.WithSuite(NewServerSuite(suite...)), tc.opt)
			wantError(t, tc.setting+": "+string(name), err, want)
		}
	}
}

// wrappedHandlers is a user's factory around the suite's.
type wrappedHandlers struct {
	remote.ServerTransHandlerFactory
}

// TestRefusedServerServesNothing: a server whose options are refused closes the listener that it
// was given.
func TestRefusedServerServesNothing(t *testing.T) {
	captureLogs(t)
	for name, opts := range map[string][]server.Option{
		"the handlers say so":         {server.WithSuite(NewServerSuite()), server.WithTransHandlerFactory(NewServerTransHandlerFactory(WithAcceptors(2)))},
		"the transport server does":   {server.WithSuite(NewServerSuite(WithMuxServer(MuxServerConfig{}))), server.WithMuxTransport()},
		"the transport server itself": {server.WithSuite(NewServerSuite()), server.WithTransServerFactory(NewTransServerFactory(WithMaxFrame(1)))},
	} {
		inner, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln := &refusedListener{Listener: inner}
		never := server.WithExitSignal(func() <-chan error { return nil })
		err = echoservice.NewServer(&echoHandler{}, append(opts, server.WithListener(ln), never)...).Run()
		wantError(t, name, err, "does nothing")
		if ln.accepts > 0 {
			t.Errorf("%s: it was served", name)
		}
		if name != "the handlers say so" && ln.closes != 1 { // Kitex does not reach the listener
			t.Errorf("%s: closed %d times", name, ln.closes)
		}
		inner.Close()
	}
}

// TestLaterMuxSuite: of two suites, of which generated code may bring one, the later one's options
// for connections count.
func TestLaterMuxSuite(t *testing.T) {
	with := func(opts ...ClientOption) client.Option { return client.WithSuite(NewMuxClientSuite(opts...)) }
	mine := []ClientOption{WithMux(pool.MuxConfig{MaxConns: 7}), WithWriteTimeout(time.Minute)}
	for name, opts := range map[string][]client.Option{
		"before":  {with(mine...), with()},
		"after":   {with(), with(mine...)},
		"instead": {with(WithMux(pool.MuxConfig{MaxConns: 5}), WithWriteTimeout(time.Hour)), with(mine...)},
	} {
		_, o := newEcho(t, "127.0.0.1:1", opts...)
		conns, ok := o.RemoteOpt.ConnPool.(*pool.Mux)
		if !ok || conns.Config().MaxConns != 7 || conns.Config().WriteTimeout != time.Minute {
			t.Errorf("%s: got %+v", name, o.RemoteOpt.ConnPool)
		}
	}
}
