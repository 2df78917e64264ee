// Types that between them use every construct for which Kitex generates code of its own, and those
// that the benchmarks encode and decode.
namespace go zoo

typedef i64 Moment
typedef list<string> Names

enum Colour {
    RED = 1
    GREEN = 2
    BLUE = 7
}

struct Empty {}

struct Leaf {
    1: required string name
    2: optional i32 weight
    3: i64 stamp
    4: optional string note
}

// Scalars has every scalar in each requiredness.
struct Scalars {
    1: bool b
    2: i8 i8v
    3: i16 i16v
    4: i32 i32v
    5: i64 i64v
    6: double d
    7: string s
    8: binary bin
    9: Colour colour
    10: Moment moment
    21: required bool rb
    22: required i8 ri8
    23: required i16 ri16
    24: required i32 ri32
    25: required i64 ri64
    26: required double rd
    27: required string rs
    28: required binary rbin
    29: required Colour rcolour
    41: optional bool ob
    42: optional i8 oi8
    43: optional i16 oi16
    44: optional i32 oi32
    45: optional i64 oi64
    46: optional double od
    47: optional string os
    48: optional binary obin
    49: optional Colour ocolour
    50: optional Moment omoment
}

// Defaults has a default value in each kind of optional field, and in some kinds of others.
struct Defaults {
    1: bool b = true
    4: i32 i32v = 32
    6: double d = 0.5
    7: string s = "text"
    8: binary bin = "bytes"
    9: Colour colour = Colour.BLUE
    10: list<string> list = ["a", "b"]
    11: set<i32> numbers = [1, 2]
    12: map<string, i32> map = {"one": 1}
    13: Leaf leaf = {"name": "default"}
    21: optional bool ob = true
    22: optional i8 oi8 = 8
    23: optional i16 oi16 = -16
    24: optional i32 oi32 = 0
    25: optional i64 oi64 = -64
    26: optional double od = 0.5
    27: optional string os = "text"
    28: optional binary obin = "bytes"
    29: optional Colour ocolour = Colour.GREEN
    30: optional list<string> olist = ["a", "b"]
    31: optional map<string, i32> omap = {"one": 1}
    32: optional Leaf oleaf = {"name": "default"}
    33: optional string oempty = ""
    34: optional binary obinempty = ""
    35: optional double ozero = 0
    41: required i32 ri32 = 7
    42: required string rs = "required"
}

// Containers nests what can be nested.
struct Containers {
    1: list<bool> bools
    2: list<i8> i8s
    3: list<i16> i16s
    4: list<i32> i32s
    5: list<i64> i64s
    6: list<double> doubles
    7: list<string> strings
    8: list<binary> binaries
    9: list<Colour> colours
    10: list<Leaf> leaves
    11: list<list<i32>> lists
    12: list<set<string>> sets
    13: list<map<string, Leaf>> maps
    14: list<Choice> choices
    15: list<Empty> empties
    16: set<string> stringSet
    17: set<Leaf> leafSet
    18: set<Colour> colourSet
    20: Names names
    21: optional list<i64> optionalList
    22: optional set<string> optionalSet
    23: optional map<i64, double> optionalMap
    24: required list<Leaf> requiredList
    25: required map<string, string> requiredMap
}

// Maps has a map for each kind of key, each kind of value, and each pair of them that package
// compiled treats in its own way.
struct Maps {
    1: map<string, string> strStr
    2: map<string, binary> strBin
    3: map<string, bool> strBool
    5: map<string, i16> strI16
    6: map<string, i32> strI32
    8: map<string, double> strDouble
    10: map<string, Leaf> strLeaf
    12: map<string, map<i32, string>> strMap
    21: map<i32, string> i32Str
    24: map<i32, i8> i32I8
    25: map<i32, i16> i32I16
    26: map<i32, i32> i32I32
    27: map<i32, double> i32Double
    28: map<i32, Leaf> i32Leaf
    29: map<i32, set<i64>> i32Set
    41: map<i64, string> i64Str
    42: map<i64, Leaf> i64Leaf
    43: map<i64, i64> i64I64
    45: map<i64, bool> i64Bool
    47: map<i64, i16> i64I16
    48: map<i64, i32> i64I32
    49: map<i64, list<Leaf>> i64List
    61: map<bool, string> boolStr
    63: map<i16, Leaf> i16Leaf
    64: map<double, string> doubleStr
    67: map<Colour, Colour> colourColour
    68: map<binary, i32> binI32
    70: map<Leaf, Leaf> leafLeaf
    72: map<i8, map<string, i64>> i8Map
}

union Choice {
    1: string text
    2: i64 number
    3: Leaf leaf
    4: list<i32> list
    5: binary bytes
}

struct Node {
    1: i32 value
    2: optional Node next
    3: list<Node> children
    4: map<string, Node> named
    5: optional Choice choice
}

exception Failure {
    1: required i32 code
    2: string message
}

// Sparse has IDs far apart and out of order.
struct Sparse {
    32767: string last
    5: i32 five
    1000: optional string thousand
    1: Leaf one
    300: required i64 threeHundred
}

struct Everything {
    1: required Scalars scalars
    2: Defaults defaults
    3: Containers containers
    4: Maps maps
    5: optional Choice choice
    6: Node node
    7: Empty empty
    8: Sparse sparse
    9: optional Failure failure
}

// Item, Mid and Texts are for benchmarks.
struct Item {
    1: required string name
    2: i64 id
    3: i32 count
    4: double score
    5: bool live
    6: string note
}

struct Mid {
    1: required string name
    2: string city
    3: string street
    4: string country
    5: string phone
    6: string mail
    7: string language
    8: string comment
    9: i64 id
    10: i32 version
    11: bool live
    12: double score
    13: list<Item> items
    14: map<string, string> labels
    15: map<i32, Item> byNumber
    16: list<i64> numbers
    17: binary body
}

struct Texts {
    1: list<string> texts
}
