// A client and a server of idl/echo.thrift with Apache's library for C++.
//
//   peer client PORT WIRE   makes every kind of call and checks the answers
//   peer server WIRE        prints its port and serves until its input ends
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TCompactProtocol.h>
#include <thrift/protocol/THeaderProtocol.h>
#include <thrift/server/TThreadedServer.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TServerSocket.h>
#include <thrift/transport/TSocket.h>

#include "EchoService.h"

using namespace apache::thrift;
using namespace apache::thrift::protocol;
using namespace apache::thrift::transport;
using apache::thrift::server::TThreadedServer;

static Author author(const std::string& name) {
  Author a;
  a.name = name;
  return a;
}

static Message fullMessage() {
  Message reply;
  reply.text = "re";
  Message m;
  m.text = "Gr\xc3\xbc\xc3\x9f"
           "e, \xe4\xb8\x96\xe7\x95\x8c";
  Author ada = author("Ada");
  ada.__set_email("ada@example.org");
  m.__set_author(ada);
  m.__set_priority(Priority::HIGH);
  m.__set_tags({"a", "", "b"});
  m.__set_recipients({-1, int64_t(1) << 62});
  m.__set_attributes({{"k", "v"}, {"", ""}});
  m.__set_attachment(std::string("\x00\x01\xff", 3));
  m.__set_sentAt(1234567890123);
  m.__set_language("fr");
  m.__set_urgent(true);
  m.__set_channel(-128);
  m.__set_retries(-32768);
  m.__set_views(-2147483647 - 1);
  m.__set_rating(0.1);
  m.__set_replies({reply});
  m.__set_readersByDay({{-5, {author("Grace")}}, {300, {}}});
  return m;
}

static std::string pattern(size_t size) {
  std::string s(size, '\0');
  for (size_t i = 0; i < size; i++) {
    s[i] = char(i % 251);
  }
  return s;
}

static void check(const std::string& what, bool ok) {
  if (!ok) {
    throw std::runtime_error(what + ": not what was expected");
  }
}

class Handler : public EchoServiceIf {
public:
  void Echo(EchoResponse& response, const EchoRequest& request) override {
    response.message = request.message;
    response.__set_receivedAt(42);
  }
  void EchoPayload(Payload& result, const Payload& payload) override { result = payload; }
  void Store(const std::string&, const Message& message) override { check("stored message", message == fullMessage()); }
  void Find(Message& result, const std::string& key) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (key == "full") {
      result = fullMessage();
    } else if (key == "notified" && hasNotified_) {
      result = notified_;
    } else {
      NotFound e;
      e.key = key;
      e.__set_reason("never stored");
      throw e;
    }
  }
  void Repeat(std::string& result, const std::string& text, const int32_t count, const std::string& separator) override {
    check("count", count >= 0);
    for (int32_t i = 0; i < count; i++) {
      result += (i > 0 ? separator : "") + text;
    }
  }
  void Notify(const Message& message) override {
    std::lock_guard<std::mutex> lock(mutex_);
    notified_ = message;
    hasNotified_ = true;
  }

private:
  std::mutex mutex_;
  Message notified_;
  bool hasNotified_ = false;
};

static bool begins(const std::string& s, const std::string& with) { return s.compare(0, with.size(), with) == 0; }

static bool ends(const std::string& s, const std::string& with) {
  return s.size() >= with.size() && s.compare(s.size() - with.size(), with.size(), with) == 0;
}

static void runClient(int port, const std::string& wire) {
  auto socket = std::make_shared<TSocket>("127.0.0.1", port);
  socket->setConnTimeout(20000);
  socket->setRecvTimeout(20000);
  bool compact = ends(wire, "compact");
  std::shared_ptr<TTransport> transport = std::make_shared<TBufferedTransport>(socket);
  if (begins(wire, "framed")) {
    transport = std::make_shared<TFramedTransport>(socket);
  }
  std::shared_ptr<TProtocol> protocol;
  if (begins(wire, "header")) {
    protocol = std::make_shared<THeaderProtocol>(transport, compact ? T_COMPACT_PROTOCOL : T_BINARY_PROTOCOL);
  } else if (compact) {
    protocol = std::make_shared<TCompactProtocol>(transport);
  } else {
    protocol = std::make_shared<TBinaryProtocol>(transport);
  }
  EchoServiceClient c(protocol);
  transport->open();

  EchoRequest request;
  request.message = fullMessage();
  EchoResponse response;
  c.Echo(response, request);
  check("Echo", response.message == fullMessage());
  check("Echo's time", response.__isset.receivedAt && response.receivedAt == 42);
  for (size_t size : {size_t(0), size_t(100), size_t(5000), size_t(100000), size_t(1) << 20}) {
    Payload payload, result;
    payload.__set_data(pattern(size));
    payload.__set_label(std::to_string(size));
    c.EchoPayload(result, payload);
    check("EchoPayload", result == payload);
  }
  c.Store("full", fullMessage());
  Message found;
  c.Find(found, "full");
  check("Find", found == fullMessage());
  try {
    c.Find(found, "none");
    check("Find of a missing key", false);
  } catch (const NotFound& e) {
    check("NotFound", e.key == "none" && e.reason == "never stored");
  }
  std::string text;
  c.Repeat(text, "ab", 3, "-");
  check("Repeat", text == "ab-ab-ab");
  try {
    c.Repeat(text, "x", -1, "");
    check("the failing Repeat", false);
  } catch (const TApplicationException& e) {
    check("the failing Repeat's exception", e.getType() == TApplicationException::INTERNAL_ERROR);
  }
  c.Notify(fullMessage());
  Message notified;
  c.Find(notified, "notified");
  check("what was notified", notified == fullMessage());
  transport->close();
}

// Announcer prints the port once the server listens.
class Announcer : public apache::thrift::server::TServerEventHandler {
public:
  explicit Announcer(std::shared_ptr<TServerSocket> socket) : socket_(std::move(socket)) {}
  void preServe() override { std::cout << socket_->getPort() << std::endl; }

private:
  std::shared_ptr<TServerSocket> socket_;
};

static void serve(TThreadedServer& server, const std::shared_ptr<TServerSocket>& socket) {
  server.setServerEventHandler(std::make_shared<Announcer>(socket));
  server.serve();
}

static void runServer(const std::string& wire) {
  std::shared_ptr<TTransportFactory> transports = std::make_shared<TBufferedTransportFactory>();
  if (begins(wire, "framed")) {
    transports = std::make_shared<TFramedTransportFactory>();
  }
  std::shared_ptr<TProtocolFactory> protocols = std::make_shared<TBinaryProtocolFactory>();
  if (begins(wire, "header")) {
    protocols = std::make_shared<THeaderProtocolFactory>();
  } else if (ends(wire, "compact")) {
    protocols = std::make_shared<TCompactProtocolFactory>();
  }
  auto socket = std::make_shared<TServerSocket>("127.0.0.1", 0);
  std::thread([] {
    while (std::getchar() != EOF) {
    }
    _exit(0);
  }).detach();
  auto processor = std::make_shared<EchoServiceProcessor>(std::make_shared<Handler>());
  if (begins(wire, "header")) {
    // Without a factory for the output the server answers in the protocol of the request.
    TThreadedServer s(processor, socket, transports, transports, protocols, nullptr);
    serve(s, socket);
    return;
  }
  TThreadedServer s(processor, socket, transports, protocols);
  serve(s, socket);
}

int main(int argc, char** argv) {
  try {
    if (argc == 4 && std::string(argv[1]) == "client") {
      runClient(std::stoi(argv[2]), argv[3]);
    } else if (argc == 3 && std::string(argv[1]) == "server") {
      runServer(argv[2]);
    } else {
      std::cerr << "usage: peer client PORT WIRE | peer server WIRE" << std::endl;
      return 2;
    }
  } catch (const std::exception& e) {
    std::cerr << e.what() << std::endl;
    return 1;
  }
  return 0;
}
