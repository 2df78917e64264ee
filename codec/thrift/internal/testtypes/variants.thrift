// What options of the generator change: structs by value in containers, enums of four bytes, fields
// reordered in memory, tags, Frugal in place of generated code.
namespace go variants

enum Colour {
    RED = 1
    BLUE = 7
}

struct Leaf {
    1: bool live
    2: required string name
    3: optional i32 weight
    4: i64 stamp = 5
    5: Colour colour
}

union Choice {
    1: string text
    2: Leaf leaf
}

struct Node {
    1: i8 small
    2: optional Node next
    3: list<Node> children
    4: map<string, Leaf> leaves
    5: map<Colour, Leaf> byColour
    6: list<Colour> colours
    7: optional Colour colour = Colour.BLUE
    8: optional Choice choice
    9: set<Leaf> leafSet
    10: list<list<Leaf>> deep
    11: map<i64, list<Leaf>> lists
    12: list<string> defaults = ["a"]
    13: set<string> strings
    14: i64 large
}

// Many has default values whose order in a message is random.
struct Many {
    1: map<string, i32> numbers = {"one": 1, "two": 2, "three": 3, "four": 4}
    2: Inner inner = {"names": {1: "a", 2: "b", 3: "c"}}
    3: list<map<i32, i32>> maps = [{1: 1, 2: 2, 3: 3}]
}

struct Inner {
    1: map<i32, string> names
}

// Fat has default values that take many times its size in memory.
struct Fat {
    1: list<i64> numbers = [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]
    2: map<string, i32> words = {"one": 1, "two": 2}
    3: Leaf leaf = {"name": "fat"}
}

struct OuterFat {
    1: Fat fat
}

// Fats has Fat wherever a struct can stand.
struct Fats {
    1: optional Fat one
    2: list<Fat> fatList
    3: map<i64, Fat> byNumber
    4: map<Leaf, Fat> byLeaf
    5: list<OuterFat> outer
    6: list<list<Fat>> lists
    7: map<i32, OuterFat> outerByNumber
    8: optional i32 number
    9: optional string text
}
