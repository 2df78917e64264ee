package leak

import "go.uber.org/goleak"

// Kitex returns the goroutines of Kitex and netpoll that outlive every server and client by design.
func Kitex() []goleak.Option {
	return []goleak.Option{
		// The pollers of netpoll, started on first use and never stopped.
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*defaultPoll).Wait"),
		// If a stopping netpollmux server writes to a connection that its client has just closed,
		// it panics, and then waits forever for the queue that the panic left (mux/shard_queue.go,
		// Close).
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll/mux.(*ShardQueue).Close"),
		// A stock stream's reader, which was once seen to wait after its connection had ended. Our
		// connections have no such frame: they are not netpoll's.
		goleak.IgnoreTopFunction("github.com/cloudwego/netpoll.(*connection).waitRead"),
		// The ticker of Kitex's circuit breakers ends with its next tick.
		goleak.IgnoreAnyFunction("github.com/bytedance/gopkg/cloud/circuitbreaker.(*sharedTicker).tick"),
		// Kitex keeps the load balancers of a resolver for the next client that has the same one.
		goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/loadbalance/lbcache.(*BalancerFactory).watcher"),
		// Kitex refreshes those load balancers with one ticker per interval, and evicts from its
		// own pools with another.
		goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/utils.(*SharedTicker).Tick"),
		// Kitex runs calls with a timeout in workers. For a while they, and a ticker, wait for the
		// next call.
		goleak.IgnoreTopFunction("github.com/cloudwego/kitex/client.(*timeoutPool).createTicker.func1"),
		goleak.IgnoreTopFunction("github.com/cloudwego/kitex/client.(*timeoutPool).createWorker.func1"),
		// Kitex never stops the ticker of a rate limiter, which WithLimit with an UpdateControl
		// makes.
		goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/limiter.(*qpsLimiter).startTicker"),
		// Kitex's gRPC makes the streams of a client ahead of time.
		goleak.IgnoreTopFunction("github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/grpc.preallocateForStream"),
		// Kitex's TTHeader streaming sleeps for a minute before it checks a connection that was put
		// back.
		goleak.IgnoreAnyFunction("github.com/cloudwego/kitex/pkg/remote/trans/ttstream.(*muxConnTransPool).Put.func1"),
	}
}

// SharedGroup returns the goroutines of the group that Kiteline's suites share by default, which
// lives as long as the process: its poller and its idle workers. A worker in a handler has another
// function on top.
func SharedGroup() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/kiteline/kiteline/transport/poller.(*Poller).loop"),
		goleak.IgnoreTopFunction("github.com/kiteline/kiteline/transport/conn.(*dispatcher).work"),
	}
}
