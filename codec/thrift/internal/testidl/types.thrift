// Types for the tests of codec/thrift: every construct of the language once.
namespace go types

typedef i64 Moment
typedef list<string> Words
typedef map<Colour, Words> Palette

enum Colour {
    RED = 1
    GREEN = 2
    BLUE = 700
}

struct Empty {}

struct Point {
    1: required i32 x
    2: required i32 y
    3: optional string label
}

union Shape {
    1: Point point
    2: list<Point> polygon
    3: string name
}

struct Tree {
    1: string name
    2: list<Tree> children
    3: optional Tree twin
    4: map<string, Tree> named
}

exception Refused {
    1: required string reason
    2: optional i32 code
}

struct Everything {
    1: bool flag
    2: i8 tiny
    3: i16 short
    4: i32 plain
    5: i64 wide
    6: double real
    7: string text
    8: binary blob
    9: Colour colour
    10: Moment moment
    11: Words words
    12: Palette palette
    13: Empty nothing
    14: Point point
    15: Tree tree
    16: optional Shape shape
    17: set<i32> numbers
    18: set<string> names
    19: list<list<list<i16>>> cube
    20: map<i32, map<string, list<Point>>> index
    21: map<string, binary> blobs
    22: list<map<i64, double>> tables
    23: set<Point> points
    24: map<Point, Colour> painted
    25: list<binary> pieces
    26: list<bool> flags
    27: list<Colour> colours
    28: list<double> reals
    30: bool yes = true
    31: i32 answer = 42
    32: string greeting = "hello"
    33: list<i32> primes = [2, 3, 5]
    34: optional i64 stamp = 7
    35: optional string note
    36: optional bool maybe
    37: optional binary tail
    38: optional list<string> lines
    39: optional Colour shade = Colour.GREEN
    40: optional Point origin
    1000: optional double far
}

service Types {
    Everything Mirror(1: Everything value) throws (1: Refused refused)
}
