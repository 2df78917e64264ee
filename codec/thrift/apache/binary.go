package apache

import (
	"context"

	"github.com/apache/thrift/lib/go/thrift"
)

// binaryProtocol is Thrift's binary protocol over a Transport's buffers.
type binaryProtocol struct {
	byteValues
	in          *input
	out         *output
	trans       *Transport
	strictRead  bool
	strictWrite bool
}

var (
	_ thrift.TProtocol            = (*binaryProtocol)(nil)
	_ thrift.TConfigurationSetter = (*binaryProtocol)(nil)
)

// NewBinaryProtocol returns the binary protocol over t. It reads and writes what
// thrift.TBinaryProtocol does; conf may be nil.
func NewBinaryProtocol(t *Transport, conf *thrift.TConfiguration) thrift.TProtocol {
	p := &binaryProtocol{byteValues: newByteValues(t), in: &t.in, out: &t.out, trans: t}
	p.configure(conf)
	thrift.PropagateTConfiguration(t, conf)
	return p
}

// NewBinaryProtocolFactory returns a factory for NewBinaryProtocol. For a transport other than a
// *Transport it returns Apache's own protocol.
func NewBinaryProtocolFactory(conf *thrift.TConfiguration) thrift.TProtocolFactory {
	return &factory{
		conf: conf,
		ours: NewBinaryProtocol,
		other: func(t thrift.TTransport, c *thrift.TConfiguration) thrift.TProtocol {
			return thrift.NewTBinaryProtocolConf(t, c)
		},
	}
}

// NewCompactProtocolFactory returns a factory for NewCompactProtocol. For a transport other than a
// *Transport it returns Apache's own protocol.
func NewCompactProtocolFactory(conf *thrift.TConfiguration) thrift.TProtocolFactory {
	return &factory{
		conf: conf,
		ours: NewCompactProtocol,
		other: func(t thrift.TTransport, c *thrift.TConfiguration) thrift.TProtocol {
			return thrift.NewTCompactProtocolConf(t, c)
		},
	}
}

// factory is a thrift.TProtocolFactory.
type factory struct {
	conf  *thrift.TConfiguration
	ours  func(t *Transport, conf *thrift.TConfiguration) thrift.TProtocol
	other func(t thrift.TTransport, conf *thrift.TConfiguration) thrift.TProtocol
}

var _ thrift.TConfigurationSetter = (*factory)(nil)

// GetProtocol implements thrift.TProtocolFactory.
func (f *factory) GetProtocol(t thrift.TTransport) thrift.TProtocol {
	if own, ok := t.(*Transport); ok {
		return f.ours(own, f.conf)
	}
	return f.other(t, f.conf)
}

// SetTConfiguration implements thrift.TConfigurationSetter.
func (f *factory) SetTConfiguration(conf *thrift.TConfiguration) { f.conf = conf }

func (p *binaryProtocol) configure(conf *thrift.TConfiguration) {
	p.strictRead, p.strictWrite = conf.GetTBinaryStrictRead(), conf.GetTBinaryStrictWrite()
}

// SetTConfiguration implements thrift.TConfigurationSetter.
func (p *binaryProtocol) SetTConfiguration(conf *thrift.TConfiguration) {
	p.configure(conf)
	thrift.PropagateTConfiguration(p.trans, conf)
}

// Transport implements thrift.TProtocol.
func (p *binaryProtocol) Transport() thrift.TTransport { return p.trans }

// Flush implements thrift.TProtocol.
func (p *binaryProtocol) Flush(ctx context.Context) error { return p.trans.Flush(ctx) }
