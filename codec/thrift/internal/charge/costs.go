package charge

// Costs is what a reader allocates for the parts of a message, in bytes.
//
// The figures hold for Kitex v0.16.3 with Go 1.26 on a 64-bit machine. Each was measured with
// messages of many parts of one kind: what their reading adds to /gc/heap/allocs, garbage included,
// divided by the number of parts. If that depends on the number, as with maps, whose tables double,
// the largest counts. TestCharged measures again with messages of every construct: no reader takes
// more than 1.25 times what it is charged.
type Costs struct {
	Message int // a byte of the message, whatever part it belongs to
	Struct  int // a struct, with room for its first eight fields
	Field   int // a field of a struct, besides its value; a filled-in default
	Unknown int // a field that the reader skips
	List    int // a list or set
	Element int // an element of one, besides its value
	Map     int // a map, with room for its first eight pairs
	Pair    int // a pair of one, besides key and value
	Number  int // a number or bool
	String  int // a string or binary, besides its bytes
	Byte    int // a byte of a string or binary
	Text    int // a byte of the JSON that the message becomes
	Empty   int // a field that is set in every struct, in the message or not

	// DoubleKey is a byte of a double as a map's key, if the reader makes text of it without an
	// exponent, which may have hundreds of bytes. It is 0 if the reader keeps the key as it is.
	DoubleKey int

	// Header is a field that dynamicgo may write to a header, besides its value.
	Header int

	// Hashes says that the reader keeps a map's keys as they are, so that a key with parts makes it
	// panic.
	Hashes bool

	// Thrown is charged for an exception that becomes an error. If it is nil, these costs are.
	Thrown *Costs

	// Mapped is charged for the value of a field whose annotation, such as api.js_conv, makes the
	// reader convert the value: numbers become text, in containers of their own. If it is nil,
	// these costs are charged.
	Mapped *Costs
}

// mapped returns c with Mapped set for a reader that makes each container of a mapped field twice
// and turns its numbers into text.
func mapped(c Costs) Costs {
	m := c
	m.Thrown = nil
	m.List, m.Element, m.Map, m.Pair = 2*c.List, 2*c.Element, 2*c.Map, 2*c.Pair
	m.Number += boxed + text
	m.Empty += 2 * text
	c.Mapped = &m
	return c
}

// The sizes that the figures consist of.
const (
	header = 48  // of a map
	group  = 288 // of a map's first eight pairs of interfaces
	slot   = 80  // of a pair of interfaces in a larger map, at its emptiest
	grown  = 125 // of such a pair in a table that grew step by step
	boxed  = 16  // an interface
	scalar = 8   // the value that an interface points to
	text   = 24  // a string's header in an interface, or a number as text
)

// How many bytes the readers allocate for a byte of JSON.
const (
	// jsonText is what jsoniter takes if its pool is empty, as in the tests: its buffer grows like
	// append's, which adds up to some five times its length. It is copied into a slice, and that
	// into a string. With a full pool jsoniter takes less.
	jsonText = 7
	// thrownText is what fmt takes for the text of an exception, with %#v: its buffer grows like
	// append's, and the error's text is copied into that of each error that wraps it.
	thrownText = 16
	// decimalTextCost is what strconv takes for a byte of a double without an exponent: it appends
	// digit by digit, and copies the result.
	decimalTextCost = 4
)

// The costs of Kitex's readers.
//
//nolint:gochecknoglobals // tables of constants
var (
	// Bytes is the reader of binary generic calls, which copies the message.
	Bytes = Costs{Message: 1}

	// Maps is the reader of map generic calls.
	Maps = mapped(Costs{
		Struct: header + group, Field: grown, Unknown: 24, Empty: grown + 2*boxed,
		List: 2 * boxed, Element: boxed, Map: header + group, Pair: grown,
		Number: scalar, String: text, Byte: 1, Hashes: true, Thrown: &thrown,
	})

	// TextMaps is the reader of map generic calls with text keys, and of HTTP generic calls.
	TextMaps = mapped(Costs{
		Struct: header + group, Field: grown, Unknown: 24, Empty: grown + 2*boxed,
		List: 2 * boxed, Element: boxed, Map: header + group, Pair: slot + text,
		Number: scalar, String: text, Byte: 1, DoubleKey: decimalTextCost, Thrown: &thrown,
	})

	// JSON is the reader of JSON generic calls, which makes such maps and turns them into JSON.
	JSON = mapped(Costs{
		Struct: header + group, Field: grown, Unknown: 24, Empty: grown + 2*boxed,
		List: 2 * boxed, Element: boxed, Map: header + group, Pair: slot + text,
		Number: scalar, String: text, Byte: 1, Text: jsonText, DoubleKey: decimalTextCost, Thrown: &thrown,
	})

	// DynamicJSON is the reader of JSON generic calls with dynamicgo. It turns the bytes into JSON,
	// and copies the JSON of a declared exception into an error.
	DynamicJSON = Costs{Message: 3, Text: dynamicText, Thrown: &Costs{Text: 2 * dynamicText}}

	// DynamicHTTP is the reader of HTTP generic calls with dynamicgo.
	DynamicHTTP = Costs{Message: 3, Text: dynamicText, Header: headerBuffer}

	// Any is an unknown reader: the costliest in every part.
	Any = mapped(Costs{
		Struct: header + group, Field: grown, Unknown: 24, Empty: grown + 2*boxed,
		List: 2 * boxed, Element: boxed, Map: header + group, Pair: grown + text,
		Number: scalar, String: text, Byte: 1, Text: jsonText, DoubleKey: decimalTextCost, Thrown: &thrown,
	})

	// thrown is an exception that a client's reader turns into an error, with many copies of its
	// text.
	thrown = mapped(Costs{
		Struct: header + group + 2*text, Field: grown, Unknown: 24, Empty: grown + 2*boxed,
		List: 16 * text, Element: boxed, Map: header + group + 16*text, Pair: slot + text,
		Number: scalar, String: text, Byte: 1, Text: thrownText, DoubleKey: decimalTextCost,
	})
)

// headerBuffer is what dynamicgo takes for a header and its text, rounded up.
const headerBuffer = 2 << 10
