package wire

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/wire/internal/theader"
	"github.com/kiteline/kiteline/codec/thrift/wire/internal/transcode"
)

// golden returns the messages that Apache's library wrote, by name and form.
func golden(t testing.TB) map[string]map[string][]byte {
	t.Helper()
	f, err := os.Open("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	messages := map[string]map[string][]byte{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		parts := strings.Fields(lines.Text())
		b, err := hex.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		if messages[parts[0]] == nil {
			messages[parts[0]] = map[string][]byte{}
		}
		messages[parts[0]][parts[1]] = b
	}
	return messages
}

// dialect is how a test's client writes messages and gets replies. Names are those of the golden
// forms.
type dialect string

var dialects = []dialect{
	"compact", "framed-compact", "theader-binary", "theader-compact", "theader-zlib-binary", "theader-zlib-compact",
}

func (d dialect) isCompact() bool { return strings.HasSuffix(string(d), "compact") }
func (d dialect) isTHeader() bool { return strings.HasPrefix(string(d), "theader") }
func (d dialect) isZlib() bool    { return strings.Contains(string(d), "zlib") }

// frame returns binary message b in this dialect; info goes into THeader.
func (d dialect) frame(b []byte, sequence uint32, info map[string]string) []byte {
	limits := tbinary.DefaultLimits()
	limits.MaxDepth = 1000
	if d.isCompact() {
		var err error
		if b, err = transcode.Shrink(nil, b, &limits); err != nil {
			panic(err)
		}
	}
	switch {
	case d.isTHeader():
		return d.theader(b, sequence, info)
	case d == "framed-compact":
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	}
	return b
}

// theader returns message b, compact or binary, in a THeader frame.
func (d dialect) theader(b []byte, sequence uint32, info map[string]string) []byte {
	h := theader.Header{Sequence: sequence, Flags: 0x8001, Zlib: d.isZlib(), Info: info}
	if d.isCompact() {
		h.Protocol = theader.Compact
	}
	if d.isZlib() {
		b = theader.Deflate(nil, b)
	}
	head, err := h.Append(nil, len(b), 1<<30)
	if err != nil {
		panic(err)
	}
	return append(head, b...)
}

// reply is the message that came back.
type reply struct {
	binary  []byte // the message, in binary
	head    tbinary.Message
	body    []byte // the struct in it
	theader theader.Header
}

// read takes the next reply, which must be in this dialect.
func (d dialect) read(r *bufio.Reader) (*reply, error) {
	var p reply
	message, err := d.readFrame(r, &p)
	if err != nil {
		return nil, err
	}
	limits := tbinary.DefaultLimits()
	limits.MaxFrame = 1 << 30
	if p.binary = message; d.isCompact() && d != "compact" {
		var x transcode.Expander
		x.Reset(&limits, len(message))
		if err := expand(&x, message); err != nil {
			return nil, err
		}
		p.binary = x.Message()
	}
	head, off, err := tbinary.MessageHeader(p.binary)
	if err != nil {
		return nil, err
	}
	p.head, p.body = head, p.binary[off:]
	if n, err := tbinary.SkipStruct(p.body, limits.MaxDepth, &limits); err != nil || n != len(p.body) {
		return nil, fmt.Errorf("%d of %d bytes: %w", n, len(p.body), err)
	}
	return &p, nil
}

// readFrame returns the message itself, for a bare one already in binary.
func (d dialect) readFrame(r *bufio.Reader, p *reply) ([]byte, error) {
	switch {
	case d.isTHeader():
		return d.readTHeader(r, p)
	case d == "framed-compact":
		var length [4]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return nil, err
		}
		message := make([]byte, binary.BigEndian.Uint32(length[:]))
		_, err := io.ReadFull(r, message)
		return message, err
	}
	limits := tbinary.DefaultLimits()
	limits.MaxFrame = 1 << 30
	var x transcode.Expander
	x.Reset(&limits, limits.MaxFrame)
	for need := 1; !x.Done(); {
		if _, err := r.Peek(need); err != nil {
			return nil, err
		}
		window, _ := r.Peek(r.Buffered())
		n, err := x.Expand(window)
		if err != nil {
			return nil, err
		}
		_, _ = r.Discard(n)
		need = len(window) - n + 1
	}
	return x.Message(), nil
}

func (d dialect) readTHeader(r *bufio.Reader, p *reply) ([]byte, error) {
	fixed := make([]byte, theader.FixedBytes)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return nil, err
	}
	h, variable, size, err := theader.ParseFixed(fixed, 1<<30)
	if err != nil {
		return nil, err
	}
	rest := make([]byte, variable+size)
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, err
	}
	if err := h.Parse(rest[:variable]); err != nil {
		return nil, err
	}
	p.theader = h
	if h.Zlib != d.isZlib() || (h.Protocol == theader.Compact) != d.isCompact() {
		return nil, fmt.Errorf("reply in %v, zlib %v, to %s", h.Protocol, h.Zlib, d)
	}
	message := rest[variable:]
	if h.Zlib {
		return theader.Inflate(nil, message, 1<<30)
	}
	return message, nil
}

// peer is a client that speaks dialects.
type peer struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, address string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{t: t, Conn: c, r: bufio.NewReaderSize(c, 64<<10)}
}

// begin restarts the time limit for p's next step.
func (p *peer) begin() { _ = p.SetDeadline(time.Now().Add(patience)) }

func (p *peer) send(b []byte) {
	p.t.Helper()
	p.begin()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) receive(d dialect) *reply {
	p.t.Helper()
	p.begin()
	r, err := d.read(p.r)
	if err != nil {
		p.t.Fatalf("%s: no reply: %v", d, err)
	}
	return r
}

// request returns a call with these arguments as a binary message.
func request(method string, kind thrift.TMessageType, sequence int32, args thrift.FastCodec) []byte {
	b := thrift.Binary.AppendMessageBegin(nil, method, kind, sequence)
	body := make([]byte, args.BLength())
	return append(b, body[:args.FastWriteNocopy(body, nil)]...)
}

// call makes a call and reads its result, or returns the exception that came instead.
func (p *peer) call(d dialect, method string, args, result thrift.FastCodec, info map[string]string) (*reply, error) {
	p.t.Helper()
	p.send(d.frame(request(method, thrift.CALL, 77, args), 99, info))
	r := p.receive(d)
	if string(r.head.Name) != method || r.head.Sequence != 77 {
		p.t.Fatalf("%s: reply to %s, sequence ID %d", d, r.head.Name, r.head.Sequence)
	}
	if d.isTHeader() && (r.theader.Sequence != 99 || r.theader.Flags != 0x8001) {
		p.t.Fatalf("%s: reply's header %+v", d, r.theader)
	}
	return r, r.into(result)
}

// into reads the reply's struct into result, or returns the exception that it is.
func (r *reply) into(result thrift.FastCodec) error {
	switch r.head.Type {
	case thrift.REPLY:
		_, err := result.FastRead(r.body)
		return err
	case thrift.EXCEPTION:
		e := thrift.NewApplicationException(0, "")
		if _, err := e.FastRead(r.body); err != nil {
			return err
		}
		return e
	}
	return fmt.Errorf("message type %d", r.head.Type)
}

// wantEnd reads until the server closes the connection, as it must.
func (p *peer) wantEnd(what string) {
	p.t.Helper()
	p.begin()
	n, err := io.Copy(io.Discard, p.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Errorf("%s: the connection stays open; %d bytes came", what, n)
	}
}
