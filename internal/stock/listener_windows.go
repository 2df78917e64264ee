package stock

import (
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
)

// OnceListening changes nothing: netpoll does not listen on Windows.
func OnceListening() server.Option {
	return server.Option{F: func(*server.Options, *utils.Slice) {}}
}
