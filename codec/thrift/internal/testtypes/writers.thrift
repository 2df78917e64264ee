// What Frugal and generated code write alike, and what not.
namespace go variants

// Absent has fields that are empty and not nil, which writers differ in.
struct Absent {
    1: optional binary body
    2: optional list<string> names
    3: optional map<string, string> labels
}

// Numbers has fields in whose order all writers agree.
struct Numbers {
    1: i64 one
    2: required i32 two
    3: optional double three
}
