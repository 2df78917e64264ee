// The Thrift service that Kiteline's tests, benchmarks and examples call.
namespace go echo

// MillisSinceEpoch is a point in time: milliseconds since 1970-01-01 00:00:00 UTC.
typedef i64 MillisSinceEpoch

// MAX_REPEATS is the largest count that Repeat accepts.
const i32 MAX_REPEATS = 1024

enum Priority {
    LOW = 1
    NORMAL = 2
    HIGH = 3
}

// Author is who wrote a message.
struct Author {
    1: required string name
    2: optional string email
}

// Message is one entry of a conversation. Between them its fields use every Thrift type.
struct Message {
    1: required string text
    2: optional Author author
    3: Priority priority = Priority.NORMAL
    4: list<string> tags
    5: set<i64> recipients
    6: map<string, string> attributes
    7: binary attachment
    8: optional MillisSinceEpoch sentAt
    9: optional string language = "en"
    10: bool urgent
    11: i8 channel
    12: i16 retries
    13: i32 views
    14: double rating
    15: list<Message> replies
    16: map<i32, list<Author>> readersByDay
}

struct EchoRequest {
    1: required Message message
    // delayMillis keeps the handler busy for this long before it answers.
    2: i32 delayMillis = 0
}

struct EchoResponse {
    1: required Message message
    2: optional MillisSinceEpoch receivedAt
}

// Payload carries bytes and nothing else, for benchmarks and for tests of large messages.
struct Payload {
    1: binary data
    2: string label
}

// NotFound says that no message is stored under a key.
exception NotFound {
    1: required string key
    2: string reason
}

service EchoService {
    // Echo answers with the message of the request.
    EchoResponse Echo(1: EchoRequest request)

    // EchoPayload answers with its argument.
    Payload EchoPayload(1: Payload payload)

    // Store keeps a message under a key.
    void Store(1: string key, 2: Message message)

    // Find answers with the message kept under a key.
    Message Find(1: string key) throws (1: NotFound notFound)

    // Repeat answers with count copies of text, joined by separator.
    string Repeat(1: string text, 2: i32 count, 3: string separator)

    // Notify tells the service about a message and waits for no answer.
    oneway void Notify(1: Message message)
}
