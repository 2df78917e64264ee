package peer

import (
	"fmt"
	"net"

	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/panjf2000/gnet/v2"
)

// serveGnet gives ln's address to gnet, which makes its own listeners.
func serveGnet(ln net.Listener, size int) error {
	addr := ln.Addr()
	if err := ln.Close(); err != nil {
		return err
	}
	quieten()
	echo := &gnetEcho{size: size, booted: make(chan struct{})}
	failed := make(chan error, 1)
	run("gnet", func() error {
		err := gnet.Run(echo, addr.Network()+"://"+addr.String(),
			gnet.WithMulticore(true),
			gnet.WithReuseAddr(true),
			gnet.WithLogger(klog.DefaultLogger())) // gnet's own writes to standard output
		select {
		case <-echo.booted:
			return err
		default:
			failed <- err
			return nil
		}
	})
	select {
	case <-echo.booted:
		return nil
	case err := <-failed:
		return fmt.Errorf("gnet did not start: %w", err)
	}
}

// gnetEcho writes each whole message back from gnet's event loops.
type gnetEcho struct {
	gnet.BuiltinEventEngine

	size   int
	booted chan struct{} // closed once gnet listens
}

// OnBoot implements gnet.EventHandler.
func (e *gnetEcho) OnBoot(gnet.Engine) gnet.Action {
	close(e.booted)
	return gnet.None
}

// OnTraffic implements gnet.EventHandler. An incomplete message stays in the connection's buffer
// until more comes.
func (e *gnetEcho) OnTraffic(c gnet.Conn) gnet.Action {
	for c.InboundBuffered() >= e.size {
		message, err := c.Peek(e.size)
		if err != nil {
			return gnet.Close
		}
		if _, err := c.Write(message); err != nil {
			return gnet.Close
		}
		if _, err := c.Discard(e.size); err != nil {
			return gnet.Close
		}
	}
	return gnet.None
}
