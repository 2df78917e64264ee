#!/usr/bin/python3
"""A client and a server of idl/echo.thrift with Apache's library for Python.

    peer.py client PORT WIRE    makes every kind of call and checks the answers
    peer.py server WIRE         prints its port and serves until its input ends
"""

import os
import socket
import sys
import threading

from echo import EchoService
from echo.ttypes import Author, EchoRequest, EchoResponse, Message, NotFound, Payload, Priority
from thrift.protocol.TBinaryProtocol import TBinaryProtocolFactory
from thrift.protocol.TCompactProtocol import TCompactProtocolFactory
from thrift.protocol.THeaderProtocol import THeaderProtocolFactory
from thrift.server.TServer import TThreadedServer
from thrift.Thrift import TApplicationException
from thrift.transport.THeaderTransport import THeaderClientType, THeaderSubprotocolID
from thrift.transport.TSocket import TServerSocket, TSocket
from thrift.transport.TTransport import (
    TBufferedTransportFactory,
    TFramedTransportFactory,
    TTransportFactoryBase,
)

SIZES = (0, 100, 5000, 100_000, 1 << 20)


def full_message():
    return Message(
        text="Grüße, 世界",
        author=Author(name="Ada", email="ada@example.org"),
        priority=Priority.HIGH,
        tags=["a", "", "b"],
        recipients={-1, 1 << 62},
        attributes={"k": "v", "": ""},
        attachment=bytes([0, 1, 255]),
        sentAt=1234567890123,
        language="fr",
        urgent=True,
        channel=-128,
        retries=-32768,
        views=-2147483648,
        rating=0.1,
        replies=[Message(text="re")],
        readersByDay={-5: [Author(name="Grace")], 300: []},
    )


def plain(value):
    """Returns value without the difference between an empty and a missing field."""
    if isinstance(value, (Message, Author)):
        fields = {k: plain(v) for k, v in vars(value).items()}
        return {k: v for k, v in fields.items() if v not in (None, [], {}, set(), b"", 0, "")}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value


def pattern(size):
    return bytes(i % 251 for i in range(size)) if size < 1000 else (bytes(range(251)) * (size // 251 + 1))[:size]


class Handler:
    def __init__(self):
        self.notified = None

    def Echo(self, request):
        return EchoResponse(message=request.message, receivedAt=42)

    def EchoPayload(self, payload):
        return payload

    def Store(self, key, message):
        if plain(message) != plain(full_message()):
            raise ValueError("stored message differs: %r" % (message,))

    def Find(self, key):
        if key == "full":
            return full_message()
        if key == "notified" and self.notified is not None:
            return self.notified
        raise NotFound(key=key, reason="never stored")

    def Repeat(self, text, count, separator):
        if count < 0:
            raise ValueError("negative count")
        return separator.join([text] * count)

    def Notify(self, message):
        self.notified = message


def factories(wire):
    """Returns what makes the transports and the protocols of a wire."""
    framing, protocol = wire.split("-")
    if framing == "header":
        kind = {"binary": THeaderSubprotocolID.BINARY, "compact": THeaderSubprotocolID.COMPACT}[protocol]
        return TTransportFactoryBase(), THeaderProtocolFactory(
            allowed_client_types=(THeaderClientType.HEADERS,), default_protocol=kind
        )
    transports = {"framed": TFramedTransportFactory, "unframed": TBufferedTransportFactory}[framing]()
    return transports, {"binary": TBinaryProtocolFactory, "compact": TCompactProtocolFactory}[protocol]()


def check(what, got, want):
    if got != want:
        raise AssertionError("%s: got %.300r, want %.300r" % (what, got, want))


def client(port, wire):
    transports, protocols = factories(wire)
    sock = TSocket("127.0.0.1", port)
    sock.setTimeout(20_000)
    transport = transports.getTransport(sock)
    c = EchoService.Client(protocols.getProtocol(transport))
    transport.open()
    want = plain(full_message())

    response = c.Echo(EchoRequest(message=full_message()))
    check("Echo", plain(response.message), want)
    check("Echo's time", response.receivedAt, 42)
    for size in SIZES:
        p = c.EchoPayload(Payload(data=pattern(size), label=str(size)))
        check("EchoPayload", (p.data, p.label), (pattern(size), str(size)))
    c.Store("full", full_message())
    check("Find", plain(c.Find("full")), want)
    try:
        c.Find("none")
        raise AssertionError("Find of a missing key returned")
    except NotFound as e:
        check("NotFound", (e.key, e.reason), ("none", "never stored"))
    check("Repeat", c.Repeat("ab", 3, "-"), "ab-ab-ab")
    try:
        c.Repeat("x", -1, "")
        raise AssertionError("the failing Repeat returned")
    except TApplicationException as e:
        check("the failing Repeat", e.type, TApplicationException.INTERNAL_ERROR)
    c.Notify(full_message())
    check("what was notified", plain(c.Find("notified")), want)
    transport.close()


def server(wire):
    transports, protocols = factories(wire)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    socket_server = TServerSocket("127.0.0.1", port)
    socket_server.listen()
    s = TThreadedServer(EchoService.Processor(Handler()), socket_server, transports, protocols, daemon=True)
    print(port, flush=True)
    threading.Thread(target=s.serve, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "client":
        client(int(sys.argv[2]), sys.argv[3])
    else:
        server(sys.argv[2])
