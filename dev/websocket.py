"""A small WebSocket client of the standard library only, for the checks in dev/. One thread, waits with bounds."""

import base64
import hashlib
import json
import os
import socket
import struct
import time
from urllib.parse import urlsplit


class Closed(Exception):
    """The other side closed; `code` is the number in its close frame, 1006 when there was none."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed: {code} {reason}")
        self.code, self.reason = code, reason


class WebSocket:
    def __init__(self, url, protocols=(), headers=(), timeout=60, source=None, connect=socket.create_connection):
        parts = urlsplit(url)
        self.socket = connect((parts.hostname, parts.port or 80), timeout, (source, 0) if source else None)
        self.buffer, self.timeout, self.serial, self.skipped = b"", timeout, 0, []
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1", f"Host: {parts.netloc}",
                 "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        if protocols:
            lines.append("Sec-WebSocket-Protocol: " + ", ".join(protocols))
        lines += [f"{name}: {value}" for name, value in headers]
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode())
        while b"\r\n\r\n" not in self.buffer:
            self._more(time.monotonic() + timeout)
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status, *fields = head.decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip() for name, value in (field.split(":", 1) for field in fields)}
        if status.split(" ")[1] != "101":
            raise ConnectionError(f"{url} answered {status}")
        expected = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        if self.headers.get("sec-websocket-accept") != base64.b64encode(expected).decode():
            raise ConnectionError("wrong Sec-WebSocket-Accept")
        self.protocol = self.headers.get("sec-websocket-protocol")

    def _more(self, until):
        self.socket.settimeout(max(0.001, until - time.monotonic()))
        data = self.socket.recv(65536)
        if not data:
            raise Closed(1006, "connection lost")
        self.buffer += data

    def _take(self, count, until):
        while len(self.buffer) < count:
            self._more(until)
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def _frame(self, opcode, payload):
        length, mask = len(payload), os.urandom(4)
        head = bytes([0x80 | opcode])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 65536:
            head += struct.pack(">BH", 0xFE, length)
        else:
            head += struct.pack(">BQ", 0xFF, length)
        self.socket.settimeout(self.timeout)
        self.socket.sendall(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))

    def send(self, type, data=None, **more):
        """Sends one envelope with an `id` of its own, which is returned."""
        self.serial += 1
        envelope = {"type": type, "id": f"r{self.serial}", **more}
        if data is not None:
            envelope["data"] = data
        self._frame(1, json.dumps(envelope).encode())
        return envelope["id"]

    def receive(self, timeout=None):
        """The next envelope; pings are answered on the way."""
        until, text = time.monotonic() + (timeout or self.timeout), b""
        while True:
            # A frame is taken from the buffer as a whole or not at all, so that a timeout loses nothing.
            while True:
                size = self._frame_size()
                if size is not None and len(self.buffer) >= size:
                    break
                self._more(until)
            first, second = self._take(2, until)
            length = second & 0x7F
            if length == 126:
                length = struct.unpack(">H", self._take(2, until))[0]
            elif length == 127:
                length = struct.unpack(">Q", self._take(8, until))[0]
            payload, opcode = self._take(length, until), first & 0x0F
            if opcode == 9:
                self._frame(10, payload)
            elif opcode == 8:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                self._frame(8, payload[:2])
                raise Closed(code, payload[2:].decode("utf-8", "replace"))
            elif opcode in (0, 1):
                text += payload
                if first & 0x80:
                    return json.loads(text)

    def _frame_size(self):
        if len(self.buffer) < 2:
            return None
        length, head = self.buffer[1] & 0x7F, 2
        if length == 126:
            if len(self.buffer) < 4:
                return None
            length, head = struct.unpack(">H", self.buffer[2:4])[0], 4
        elif length == 127:
            if len(self.buffer) < 10:
                return None
            length, head = struct.unpack(">Q", self.buffer[2:10])[0], 10
        return head + length

    def expect(self, wanted, what, timeout=None):
        """Reads until `wanted(envelope)`; what came before it is kept in `skipped`, for the message on failure."""
        until = time.monotonic() + (timeout or self.timeout)
        for i, envelope in enumerate(self.skipped):
            if wanted(envelope):
                return self.skipped.pop(i)
        while True:
            try:
                envelope = self.receive(max(0.001, until - time.monotonic()))
            except (TimeoutError, socket.timeout):
                raise AssertionError(f"{what} did not come; what came: {self.skipped[-20:]}") from None
            if wanted(envelope):
                return envelope
            self.skipped.append(envelope)

    def ask(self, type, data=None, **more):
        """Sends a request and returns its answer's data; an `error` answer raises."""
        id = self.send(type, data, **more)
        answer = self.expect(lambda envelope: envelope.get("id") == id, f"the answer to {type}")
        if answer["type"] == "error":
            raise AssertionError(f"{type} was refused: {answer['data']}")
        return answer.get("data")

    def close(self):
        try:
            self._frame(8, struct.pack(">H", 1000))
        except OSError:
            pass
        self.socket.close()
