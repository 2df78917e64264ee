//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/kiteline/kiteline/tests/bench/internal/load"
	"github.com/kiteline/kiteline/tests/bench/internal/peer"
	"github.com/kiteline/kiteline/tests/bench/internal/proc"
)

// The roles of this program's other processes.
const (
	roleServer = "server"
	roleClient = "client"
)

// serverArgs are the arguments of a server process.
type serverArgs struct {
	Plain   bool // a plain server, otherwise an RPC server
	Variant string
	Size    int       // bytes of a plain server's messages
	Work    load.Work // of an RPC server's handler
	Back    string    // the address that an RPC server relays calls to; empty: it answers
	Callers int       // concurrent calls to Back
	Profile string
}

// clientArgs are the arguments of a client process.
type clientArgs struct {
	Load     kind
	Variant  string
	Addr     string
	Callers  int
	Size     int
	Timeout  time.Duration
	Duration time.Duration
	Rate     float64 // of an open loop; 0 for a closed one
	Profile  string
}

// loadReport is the result of a client's load.
type loadReport struct {
	load.Report
	Used proc.Usage // by the client, in the load; held at its end
}

// runRole is the main of a child.
func runRole(role, args string) error {
	switch role {
	case roleServer:
		var server serverArgs
		if err := json.Unmarshal([]byte(args), &server); err != nil {
			return err
		}
		return serve(server)
	case roleClient:
		var client clientArgs
		if err := json.Unmarshal([]byte(args), &client); err != nil {
			return err
		}
		return call(client)
	}
	return fmt.Errorf("unknown role %q", role)
}

// serve is the main of a server process. It reports where it listens.
func serve(args serverArgs) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := ln.Addr().String()
	if err := startServer(args, ln); err != nil {
		return err
	}
	return proc.Serve(addr, nil, args.Profile)
}

func startServer(args serverArgs, ln net.Listener) error {
	if args.Plain {
		p, err := peer.FindPlain(args.Variant)
		if err != nil {
			return err
		}
		return p.Serve(ln, args.Size)
	}
	r, err := peer.FindRPC(args.Variant)
	if err != nil {
		return err
	}
	if args.Back != "" {
		return r.Relay(ln, args.Back, args.Callers)
	}
	return r.Serve(ln, args.Work.Do)
}

// call is the main of a client process.
func call(args clientArgs) error {
	switch args.Load {
	case kindPlain, kindIdlePlain:
		return callEcho(args, make([]byte, args.Size))
	case kindIdleRPC:
		return callEcho(args, framedCall(args.Size))
	}
	r, err := peer.FindRPC(args.Variant)
	if err != nil {
		return err
	}
	client, err := r.Dial(args.Addr, args.Callers, args.Timeout)
	if err != nil {
		return err
	}
	var callers []load.Caller
	for range args.Callers {
		callers = append(callers, client.Caller(args.Size))
	}
	return serveLoads(args, func(ctx context.Context, d time.Duration) (load.Report, error) {
		if args.Rate > 0 {
			return load.Open(ctx, callers, args.Rate, d)
		}
		return load.Closed(ctx, callers, d)
	})
}

// callEcho is the main of a client of raw connections.
func callEcho(args clientArgs, request []byte) error {
	echo, err := load.NewEcho(args.Addr, args.Callers, request)
	if err != nil {
		return err
	}
	defer echo.Close()
	return serveLoads(args, echo.Run)
}

// serveLoads answers "warm-up", "run" and "once", which makes an Echo exchange a single message on
// each connection.
func serveLoads(args clientArgs, run func(ctx context.Context, d time.Duration) (load.Report, error)) error {
	measured := func(d time.Duration) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			before := proc.OwnUsage()
			report, err := run(ctx, d)
			return loadReport{report, proc.OwnUsage().Since(before)}, err
		}
	}
	return proc.Serve("ready", proc.Commands{
		"warm-up": measured(args.Duration / 5),
		"run":     measured(args.Duration),
		"once":    measured(0),
	}, args.Profile)
}

// chainRPCs returns the names of the RPC variants that are measured in the middle of a chain.
func chainRPCs() []string { return []string{"kitex", "kiteline", "kiteline-mux", "gonet"} }

// framedRPCs returns the names of the RPC variants that answer framedCall on a connection of its
// own.
func framedRPCs() []string { return []string{"kitex", "kiteline", "gonet"} }

// framedCall is a call of EchoPayload with size bytes, in Thrift's binary protocol with a frame
// around it. Its reply has the same length: only the message type and a field's number differ.
func framedCall(size int) []byte {
	const (
		call, str, structure = 1, 11, 12 // thrift-binary-protocol.md
		method               = "EchoPayload"
	)
	b := []byte{0, 0, 0, 0} // the frame's length
	b = binary.BigEndian.AppendUint32(b, 0x80010000|call)
	b = binary.BigEndian.AppendUint32(b, uint32(len(method)))
	b = append(b, method...)
	b = binary.BigEndian.AppendUint32(b, 1)   // sequence ID
	b = append(b, structure, 0, 1, str, 0, 1) // argument 1, and inside it the data
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = append(b, make([]byte, size)...)
	b = append(b, str, 0, 2, 0, 0, 0, 0) // an empty label
	b = append(b, 0, 0)                  // the end of the payload, and of the arguments
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}
