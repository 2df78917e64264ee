// Structs that keep unknown fields, wherever a struct can stand.
namespace go variants

struct Leaf {
    1: bool live
    2: required string name
    3: optional i32 weight
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
    8: optional Choice choice
    12: list<string> defaults = ["a"]
    14: i64 large
}

struct Empty {}

// Many has default values whose order in a message is random.
struct Many {
    1: map<string, i32> numbers = {"one": 1, "two": 2, "three": 3, "four": 4}
}
