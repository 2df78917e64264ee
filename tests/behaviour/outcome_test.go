package behaviour

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/netpoll"
)

// outcome is what Kitex's middlewares and users distinguish errors by.
type outcome struct {
	rpcTimeout     bool // kerrors.ErrRPCTimeout: retried, counted by circuit breakers
	getConnection  bool // kerrors.ErrGetConnection: retried elsewhere, counted per instance
	remoteOrNet    bool // kerrors.ErrRemoteOrNetwork
	fromPeer       bool // the peer's own exception, not a failure of the network
	peerClosed     bool // netpoll.ErrConnClosed
	networkTimeout bool // a net.Error whose Timeout is true
	osTimeout      bool // os.IsTimeout
	circuitBroken  bool // kerrors.ErrCircuitBreak
}

func outcomeOf(err error) outcome {
	var network net.Error
	return outcome{
		rpcTimeout:     errors.Is(err, kerrors.ErrRPCTimeout),
		getConnection:  errors.Is(err, kerrors.ErrGetConnection),
		remoteOrNet:    errors.Is(err, kerrors.ErrRemoteOrNetwork),
		fromPeer:       err != nil && strings.Contains(err.Error(), "[remote]"),
		peerClosed:     errors.Is(err, netpoll.ErrConnClosed),
		networkTimeout: errors.As(err, &network) && network.Timeout(),
		osTimeout:      os.IsTimeout(err),
		circuitBroken:  errors.Is(err, kerrors.ErrCircuitBreak),
	}
}

// String shows the true fields, for messages of tests.
func (o outcome) String() string {
	return fmt.Sprintf("%+v", struct {
		rpcTimeout, getConnection, remoteOrNet, fromPeer, peerClosed, networkTimeout, osTimeout, circuitBroken bool
	}(o))
}
