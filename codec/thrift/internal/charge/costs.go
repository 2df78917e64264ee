package charge

// Costs is what a reader allocates for the parts of a message, in bytes.
//
// The figures are those of Kitex v0.16.3 with Go 1.26 on a 64-bit machine: what reading messages
// that consist of many of one part adds to /gc/heap/allocs, garbage included, divided by their
// number, and the largest of that where it depends on the number, as with maps, whose tables
// double. TestCharged measures again over messages of every construct: no reader takes more than
// 1.25 times what it is charged.
type Costs struct {
	Message int // a byte of the message, whatever it is part of
	Struct  int // a struct, its first eight fields' room included
	Field   int // a field of a struct, besides its value; a default that is filled in
	Unknown int // a field that the reader skips
	List    int // a list or set
	Element int // an element of one, besides its value
	Map     int // a map, its first eight pairs' room included
	Pair    int // a pair of one, besides key and value
	Number  int // a number or bool
	String  int // a string or binary, besides its bytes
	Byte    int // a byte of a string or binary
	Text    int // a byte of the JSON that the message is turned into
	Empty   int // a field that is set in every struct, whether it is in the message or not

	// DoubleKey is a byte of a map's key that is a double and turned into text without an exponent,
	// which may have hundreds; 0 if the reader keeps it as it is.
	DoubleKey int

	// Header is a field that dynamicgo may write to a header, besides its value.
	Header int

	// Hashes is true if the reader keeps a map's keys as they are, so that a key with parts makes
	// it panic.
	Hashes bool

	// Thrown is what is charged for an exception that is turned into an error, nil for the same.
	Thrown *Costs

	// Mapped is what is charged for the value of a field whose annotation, such as api.js_conv, has
	// the reader make another value of it: numbers become text, in containers of their own. It is
	// nil for the same.
	Mapped *Costs
}

// mapped returns c with Mapped, for a reader that makes each container of a mapped field twice and
// text of its numbers.
func mapped(c Costs) Costs {
	m := c
	m.Thrown = nil
	m.List, m.Element, m.Map, m.Pair = 2*c.List, 2*c.Element, 2*c.Map, 2*c.Pair
	m.Number += boxed + text
	m.Empty += 2 * text
	c.Mapped = &m
	return c
}

// Sizes that the figures are made of.
const (
	header = 48  // of a map
	group  = 288 // of a map's first eight pairs of interfaces
	slot   = 80  // of a pair of interfaces in a larger map, where its table is filled the least
	grown  = 125 // of such a pair where the table has grown step by step
	boxed  = 16  // an interface
	scalar = 8   // what it points to
	text   = 24  // the header of a string in an interface, or a number as text, rounded up
)

// How many bytes the readers allocate for a byte of JSON.
const (
	// jsonText is what jsoniter takes where its pool is empty: its buffer grows as append lets it,
	// which adds up to some five times its length, and is copied into a slice and that into a
	// string. The pool being full it takes less: the tests empty it.
	jsonText = 7
	// thrownText is what fmt takes for the text of an exception, with %#v: its buffer grows as
	// append lets it, and the error's text is copied into that of each error that wraps it.
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

	// TextMaps is the reader of map generic calls whose maps have text for keys, and of HTTP's.
	TextMaps = mapped(Costs{
		Struct: header + group, Field: grown, Unknown: 24, Empty: grown + 2*boxed,
		List: 2 * boxed, Element: boxed, Map: header + group, Pair: slot + text,
		Number: scalar, String: text, Byte: 1, DoubleKey: decimalTextCost, Thrown: &thrown,
	})

	// JSON is the reader of JSON generic calls, which makes JSON of such maps.
	JSON = mapped(Costs{
		Struct: header + group, Field: grown, Unknown: 24, Empty: grown + 2*boxed,
		List: 2 * boxed, Element: boxed, Map: header + group, Pair: slot + text,
		Number: scalar, String: text, Byte: 1, Text: jsonText, DoubleKey: decimalTextCost, Thrown: &thrown,
	})

	// DynamicJSON is the reader of JSON generic calls with dynamicgo, which makes JSON of the
	// bytes, and copies that of a declared exception into an error.
	DynamicJSON = Costs{Message: 3, Text: dynamicText, Thrown: &Costs{Text: 2 * dynamicText}}

	// DynamicHTTP is that of HTTP's with dynamicgo.
	DynamicHTTP = Costs{Message: 3, Text: dynamicText, Header: headerBuffer}

	// Any is a reader that is not known: the costliest in every part.
	Any = mapped(Costs{
		Struct: header + group, Field: grown, Unknown: 24, Empty: grown + 2*boxed,
		List: 2 * boxed, Element: boxed, Map: header + group, Pair: grown + text,
		Number: scalar, String: text, Byte: 1, Text: jsonText, DoubleKey: decimalTextCost, Thrown: &thrown,
	})

	// thrown is an exception that a client's reader turns into an error: its text, many times over.
	thrown = mapped(Costs{
		Struct: header + group + 2*text, Field: grown, Unknown: 24, Empty: grown + 2*boxed,
		List: 16 * text, Element: boxed, Map: header + group + 16*text, Pair: slot + text,
		Number: scalar, String: text, Byte: 1, Text: thrownText, DoubleKey: decimalTextCost,
	})
)

// headerBuffer is what dynamicgo takes for a header's text, rounded up, and for the header.
const headerBuffer = 2 << 10
