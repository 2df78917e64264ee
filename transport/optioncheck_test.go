package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
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
)

// everyOption returns one Option of each kind.
func everyOption(t *testing.T) map[option]Option {
	return map[option]Option{
		optionGroup:         WithGroup(newTestGroup(t)),
		optionAcceptors:     WithAcceptors(2),
		optionWriteTimeout:  WithWriteTimeout(time.Second),
		optionWatermarks:    WithWatermarks(1, 2, func(*conn.Conn, conn.Pressure) {}),
		optionMaxFrame:      WithMaxFrame(1 << 20),
		optionKitexCodec:    WithKitexCodec(),
		optionMuxServer:     WithMuxServer(MuxServerConfig{}),
		optionMux:           WithMux(MuxConfig{}),
		optionPool:          WithPool(PoolConfig{}),
		optionKitexTimeouts: WithKitexTimeouts(),
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

// everyTaker returns, for each function that takes options, a function that gives it one and
// returns the outcome.
func everyTaker(t *testing.T) map[taker]func(opt Option) error {
	group := WithGroup(newTestGroup(t))
	return map[taker]func(opt Option) error{
		takerServerSuite:    func(opt Option) error { return runServer(server.WithSuite(NewServerSuite(group, opt))) },
		takerClientSuite:    func(opt Option) error { return makeClient(client.WithSuite(NewClientSuite(opt))) },
		takerMuxClientSuite: func(opt Option) error { return makeClient(client.WithSuite(NewMuxClientSuite(opt))) },
		takerTransServer: func(opt Option) error {
			return runServer(server.WithSuite(NewServerSuite()), server.WithTransServerFactory(NewTransServerFactory(group, opt)))
		},
		takerServerHandlers: func(opt Option) error {
			return runServer(server.WithSuite(NewServerSuite(group)), server.WithTransHandlerFactory(detection.NewSvrTransHandlerFactory(
				NewServerTransHandlerFactory(opt), nphttp2.NewSvrTransHandlerFactory())))
		},
		takerDialer: func(opt Option) error {
			return caught(func() error {
				NewDialer(opt)
				return nil
			})
		},
	}
}

// TestOptionsForTheOtherSide gives each option to each function that takes options. An option that
// would do nothing is refused by name, and no other is.
func TestOptionsForTheOtherSide(t *testing.T) {
	captureLogs(t)
	const all = "server client mux transserver handlers dialer"
	takes := map[option]string{
		optionGroup:         "server client mux transserver dialer",
		optionAcceptors:     "server transserver",
		optionWriteTimeout:  all,
		optionWatermarks:    "server client mux transserver dialer",
		optionMaxFrame:      "server client mux handlers",
		optionKitexCodec:    "server client mux",
		optionMuxServer:     "server handlers",
		optionMux:           "mux",
		optionPool:          "client",
		optionKitexTimeouts: "client mux",
	}
	names := map[taker]string{
		takerServerSuite: "server", takerClientSuite: "client", takerMuxClientSuite: "mux",
		takerTransServer: "transserver", takerServerHandlers: "handlers", takerDialer: "dialer",
	}
	takers := everyTaker(t)
	for name, opt := range everyOption(t) {
		for taker, try := range takers {
			want := string(name) + " does nothing for " + taker.String()
			if slices.Contains(strings.Fields(takes[name]), names[taker]) {
				want = ""
			}
			wantError(t, fmt.Sprintf("%s of %s", name, taker), try(opt), want)
		}
	}
}

// TestEveryOption: the tests of options cover every option that is declared.
func TestEveryOption(t *testing.T) {
	declared := make(map[string]bool)
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	declaration := regexp.MustCompile(`(?m)^func (With\w+)\(.*\) Option \{`)
	for _, file := range files {
		text, err := os.ReadFile(file.Name())
		if err != nil || strings.HasSuffix(file.Name(), "_test.go") {
			continue // a directory
		}
		for _, match := range declaration.FindAllStringSubmatch(string(text), -1) {
			declared[match[1]] = true
		}
	}
	for name := range everyOption(t) {
		if !declared[string(name)] {
			t.Errorf("there is no %s", name)
		}
		delete(declared, string(name))
	}
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		t.Errorf("%s is not tried", name)
	}
}

// TestOptionsWithoutUse gives options together with settings that leave them nothing to do.
func TestOptionsWithoutUse(t *testing.T) {
	captureLogs(t)
	opts := everyOption(t)
	pool, shared := NewPool("echo", PoolConfig{}), NewMuxPool("echo", MuxConfig{})
	defer pool.Close()
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
		{"WithConnPool", []client.Option{client.WithConnPool(pool)}, "WithPool", "WithMux", false},
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
	wantError(t, "WithMux beside a MuxPool", makeClient(client.WithSuite(NewMuxClientSuite(opts[optionMux])), client.WithConnPool(shared)), "WithMux does nothing with ")
	both := makeClient(client.WithSuite(NewClientSuite(opts[optionAcceptors], opts[optionMux])))
	wantError(t, "two", both, "WithAcceptors does nothing")
	wantError(t, "two", both, "WithMux does nothing")
}

// TestServerOptionsWithoutUse gives a server options together with settings that leave them nothing
// to do.
func TestServerOptionsWithoutUse(t *testing.T) {
	captureLogs(t)
	opts := everyOption(t)
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
			if name.takers()&takerServerSuite == 0 {
				continue
			}
			want := ""
			if slices.Contains(strings.Fields(tc.refused), string(name)) {
				want = string(name) + " does nothing with "
			}
			suite := []Option{opt}
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
		"the handlers say so":         {server.WithSuite(NewServerSuite(WithPool(PoolConfig{})))},
		"the transport server does":   {server.WithSuite(NewServerSuite(WithMuxServer(MuxServerConfig{}))), server.WithMuxTransport()},
		"the transport server itself": {server.WithSuite(NewServerSuite()), server.WithTransServerFactory(NewTransServerFactory(WithPool(PoolConfig{})))},
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
	with := func(opts ...Option) client.Option { return client.WithSuite(NewMuxClientSuite(opts...)) }
	mine := []Option{WithMux(MuxConfig{MaxConns: 7}), WithWriteTimeout(time.Minute)}
	for name, opts := range map[string][]client.Option{
		"before":  {with(mine...), with()},
		"after":   {with(), with(mine...)},
		"instead": {with(WithMux(MuxConfig{MaxConns: 5}), WithWriteTimeout(time.Hour)), with(mine...)},
	} {
		_, o := newEcho(t, "127.0.0.1:1", opts...)
		pool, ok := o.RemoteOpt.ConnPool.(*MuxPool)
		if !ok || pool.config.MaxConns != 7 || pool.config.WriteTimeout != time.Minute {
			t.Errorf("%s: got %+v", name, o.RemoteOpt.ConnPool)
		}
	}
}
