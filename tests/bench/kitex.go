//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote/trans/gonet"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	kiteline "github.com/kiteline/kiteline/transport"
)

// kitexVariants are Kitex services over transports with pooled connections.
var kitexVariants = []string{"kiteline", "netpoll", "gonet"}

// payloadService answers EchoPayload and nothing else.
type payloadService struct{ echo.EchoService }

func (payloadService) EchoPayload(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
	return p, nil
}

// serveKitex is the main of a Kitex server.
func serveKitex(variant string) error {
	klog.SetLevel(klog.LevelWarn)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	opts := []server.Option{server.WithListener(ln)}
	switch variant {
	case "kiteline":
		opts = append(opts, server.WithSuite(kiteline.NewServerSuite()))
	case "gonet":
		opts = append(opts, server.WithTransServerFactory(gonet.NewTransServerFactory()),
			server.WithTransHandlerFactory(gonet.NewSvrTransHandlerFactory()))
	case "netpoll":
	default:
		return fmt.Errorf("unknown variant %q", variant)
	}
	s := echoservice.NewServer(&payloadService{}, opts...)
	go func() { _ = s.Run() }() // ends with the process
	return answer(ln.Addr().String(), nil)
}

// newKitexClient makes a client of variant whose pool keeps a connection for each caller.
func newKitexClient(variant, addr string, callers int) (echoservice.Client, error) {
	opts := []client.Option{
		client.WithHostPorts(addr),
		client.WithLongConnection(connpool.IdleConfig{
			MaxIdlePerAddress: callers, MaxIdleGlobal: callers, MaxIdleTimeout: time.Minute,
		}),
		client.WithConnectTimeout(5 * time.Second),
	}
	switch variant {
	case "kiteline":
		opts = append([]client.Option{client.WithSuite(kiteline.NewClientSuite())}, opts...)
	case "gonet":
		opts = append(opts, client.WithDialer(gonet.NewDialer()),
			client.WithTransHandlerFactory(gonet.NewCliTransHandlerFactory()))
	}
	return echoservice.NewClient("echo", opts...)
}

// callKitex is the main of a Kitex client: variant, address, callers, size.
func callKitex(args []string) error {
	klog.SetLevel(klog.LevelWarn)
	callers, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	duration, err := time.ParseDuration(args[4])
	if err != nil {
		return err
	}
	cli, err := newKitexClient(args[0], args[1], callers)
	if err != nil {
		return err
	}
	load := func(d time.Duration) (any, error) { return kitexLoad(cli, callers, size, d) }
	return answer("ready", map[string]func() (any, error){
		"warm-up": func() (any, error) { return load(duration / 5) },
		"run":     func() (any, error) { return load(duration) },
	})
}

// loadReport is what a client process measured.
type loadReport struct {
	Latencies []byte // an encoded histogram
	Elapsed   time.Duration
	Used      usage
}

// kitexLoad is a closed loop: each caller calls again as soon as it has its answer.
func kitexLoad(cli echoservice.Client, callers, size int, d time.Duration) (*loadReport, error) {
	before := ownUsage(false)
	began := time.Now()
	latencies := newHistogram()
	var mu sync.Mutex // guards latencies and failure
	var failure error
	var failed atomic.Bool
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			own := newHistogram()
			request := &echo.Payload{Data: make([]byte, size)}
			for !failed.Load() {
				sent := time.Now()
				if sent.Sub(began) >= d {
					break
				}
				_, err := cli.EchoPayload(context.Background(), request)
				if err == nil {
					err = own.RecordValue(int64(time.Since(sent)))
				}
				if err != nil {
					mu.Lock()
					failure = err
					mu.Unlock()
					failed.Store(true)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			latencies.Merge(own)
		})
	}
	wg.Wait()
	if failure != nil {
		return nil, failure
	}
	report := &loadReport{Elapsed: time.Since(began), Used: usageBetween(before, ownUsage(false))}
	var err error
	report.Latencies, err = latencies.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return report, err
}

// runKitexCell measures one variant on both sides.
func runKitexCell(c cell) (result, error) {
	srv, addr, err := start("kitex-server", c.opt, c.variant)
	if err != nil {
		return result{}, err
	}
	defer srv.stop()
	cli, _, err := start("kitex-client", c.opt, c.variant, addr,
		strconv.Itoa(c.callers), strconv.Itoa(c.size), c.opt.duration.String())
	if err != nil {
		return result{}, err
	}
	defer cli.stop()
	var report loadReport
	if err := cli.ask("warm-up", &report); err != nil {
		return result{}, err
	}
	var before, after usage
	if err := srv.ask("usage", &before); err != nil {
		return result{}, err
	}
	if err := cli.ask("run", &report); err != nil {
		return result{}, err
	}
	if err := srv.ask("usage", &after); err != nil {
		return result{}, err
	}
	latencies, err := decodeHistogram(report.Latencies)
	if err != nil {
		return result{}, err
	}
	return newResult(latencies, report.Elapsed, usageBetween(before, after), report.Used), nil
}
