// The streaming Thrift service (TTHeader streaming) that Kiteline's tests call.
namespace go echostream

struct Request {
    1: required string text
    2: binary data
    // count is how many responses a server stream is to send.
    3: i32 count = 1
}

struct Response {
    1: required string text
    2: binary data
    // index counts the responses of one stream from 0.
    3: i32 index
}

service EchoStreamService {
    // Echo answers each request of the stream with one response.
    Response Echo(1: Request request) (streaming.mode = "bidirectional")

    // Collect answers a stream of requests with one response that joins their texts.
    Response Collect(1: Request request) (streaming.mode = "client")

    // Expand answers one request with a stream of responses.
    Response Expand(1: Request request) (streaming.mode = "server")

    // EchoOnce is an ordinary call of a service that streams.
    Response EchoOnce(1: Request request)
}
