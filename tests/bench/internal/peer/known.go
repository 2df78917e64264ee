package peer

import (
	"fmt"
	"os"
	"strings"

	kiteline "github.com/kiteline/kiteline/transport"
)

// RPCs returns the frameworks that are compared, the baseline first.
func RPCs() []RPC {
	return []RPC{
		overThrift("kitex", pooled),
		overThrift("kiteline", pooled, withKiteline()),
		overThrift("kiteline-kitexcodec", pooled, withKiteline(kiteline.WithKitexCodec())),
		overThrift("kiteline-mux", withKitelineMux),
		overThrift("gonet", pooled, withGonet),
		overThrift("netpollmux-1", withMux(1)),
		overThrift("netpollmux-2", withMux(2)),
		{Name: "kitex-grpc", Serve: serveKitexGRPC, Dial: dialKitexGRPC},
		{Name: "grpc-go", Serve: serveGRPC, Dial: dialGRPC},
	}
}

// Plains returns the servers that are compared, the baseline first.
func Plains() []Plain {
	return []Plain{
		{Name: "netpoll", Serve: serveNetpoll},
		{Name: "kiteline", Serve: serveKiteline},
		{Name: "gnet", Serve: serveGnet},
		{Name: "gonet", Serve: serveGonet},
	}
}

// FindRPC returns the framework of that name. The error lists the known names.
func FindRPC(name string) (RPC, error) {
	return find("framework", name, RPCs(), func(r RPC) string { return r.Name })
}

// FindPlain returns the server of that name. The error lists the known names.
func FindPlain(name string) (Plain, error) {
	return find("plain server", name, Plains(), func(p Plain) string { return p.Name })
}

func find[T any](kind, name string, known []T, nameOf func(T) string) (T, error) {
	var names []string
	for _, k := range known {
		if nameOf(k) == name {
			return k, nil
		}
		names = append(names, nameOf(k))
	}
	var none T
	return none, fmt.Errorf("unknown %s %q, want one of %s", kind, name, strings.Join(names, ", "))
}

// run runs a server until the process ends. A server that fails earlier ends the process, so that
// its figures are not used.
func run(name string, serve func() error) {
	go func() {
		if err := serve(); err != nil {
			fmt.Fprintf(os.Stderr, "server %s: %v\n", name, err)
			os.Exit(1)
		}
	}()
}
