// Sets that are checked for duplicates.
namespace go variants

struct Leaf {
    1: required string name
}

struct Node {
    1: set<Leaf> leaves
    2: set<string> strings
}
