#!/usr/bin/env python3
"""A second independent client: Debian's python3-websockets against two nodes of a cluster, named by NODE_A and NODE_B."""

import asyncio
import itertools
import json
import os
import sys

import websockets

PATIENCE = 60
counter = itertools.count(1)


class Client:
    """One connection; keeps what was not asked for yet."""

    def __init__(self, socket):
        self.socket = socket
        self.kept = []

    async def send(self, kind, data=None, **more):
        await self.socket.send(json.dumps({"type": kind, "data": data, **more}))

    async def take(self, matches):
        for event in self.kept:
            if matches(event):
                self.kept.remove(event)
                return event
        while True:
            text = await asyncio.wait_for(self.socket.recv(), PATIENCE)
            assert isinstance(text, str), "a binary message"
            event = json.loads(text)
            if matches(event):
                return event
            self.kept.append(event)

    async def next(self, kind):
        return await self.take(lambda event: event["type"] == kind)

    async def request(self, kind, data=None):
        number = next(counter)
        await self.send(kind, data, id=number)
        return await self.take(lambda event: event.get("id") == number)


async def connect(node, **options):
    # The library offers permessage-deflate by itself: node-b agrees, node-a declines in good order.
    return Client(await websockets.connect(os.environ[node], max_size=None, open_timeout=PATIENCE, **options))


async def until(what, holds):
    for _ in range(PATIENCE * 50):
        if await holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what}: not within {PATIENCE} s")


async def test_requests():
    client = await connect("NODE_A")
    assert client.socket.subprotocol is None
    pong = await client.request("ping", {"t": 1})
    assert pong["data"] == {"timestamp": {"t": 1}}, pong
    echo = await client.request("echo", "é😀")
    assert json.loads(echo["data"]["original"]) == "é😀", echo
    status = (await client.request("status"))["data"]
    assert status["user_id"] == "" and status["rooms"] == [], status
    error = await client.request("dance")
    assert error["type"] == "error" and error["data"]["code"] == "unknown_type", error
    await client.socket.close()
    assert client.socket.close_code == 1000, client.socket.close_code


async def test_subprotocol():
    client = await connect("NODE_B", subprotocols=["conduit.v1.json"])
    assert client.socket.subprotocol == "conduit.v1.json"
    await client.socket.close()


async def test_protocol_ping():
    client = await connect("NODE_A")
    await asyncio.wait_for(await client.socket.ping(b"beat"), PATIENCE)
    await client.socket.close()


async def test_rooms_over_two_nodes():
    room = f"python-{os.getpid()}"
    first, second = await connect("NODE_A"), await connect("NODE_B")
    for client in (first, second):
        joined = await client.request("join_room", {"room": room, "presence": True})
        assert joined["type"] == "room_joined", joined

    async def both():
        return (await first.request("presence", {"room": room}))["data"]["count"] == 2

    await until("two members in the roster", both)
    # Announced before it goes: who comes and goes within one interval is never told of.
    while (await first.next("presence_diff"))["data"]["count"] < 2:
        pass

    # The subscription of the other node is confirmed a moment after the join.
    async def crosses():
        await first.send("broadcast", {"room": room, "type": "hello", "payload": "over"})
        try:
            text = await asyncio.wait_for(second.socket.recv(), 0.5)
        except asyncio.TimeoutError:
            return False
        second.kept.append(json.loads(text))
        return any(event["type"] == "hello" for event in second.kept)

    await until("a broadcast from one node to the other", crosses)
    hello = await second.next("hello")
    assert hello["data"] == "over" and hello["room"] == room, hello
    for number in range(1000):
        await first.send("broadcast", {"room": room, "type": "count", "payload": number})
    for client in (first, second):
        for number in range(1000):
            event = await client.next("count")
            assert event["data"] == number, (event, number)
    await second.socket.close()
    while True:
        left = (await first.next("presence_diff"))["data"]
        if left["left"]:
            break
    assert left["left"][0]["reason"] == "disconnected" and left["count"] == 1, left
    await first.socket.close()


async def test_compression():
    room = f"python-deflate-{os.getpid()}"
    plain, first, second = await connect("NODE_A"), await connect("NODE_B"), await connect("NODE_B")
    assert plain.socket.extensions == [], plain.socket.extensions
    for client in (first, second):
        names = [extension.name for extension in client.socket.extensions]
        assert names == ["permessage-deflate"], names
    for client in (plain, first, second):
        await client.request("join_room", {"room": room})
    for number in range(50):
        # Large ones, which come compressed, and small ones, which don't.
        text = f"{number} " + "All work and no play. " * (number % 2 * 200)
        await first.send("broadcast", {"room": room, "type": "news", "payload": text})
    for client in (plain, first, second):
        for number in range(50):
            event = await client.next("news")
            assert event["data"].startswith(f"{number} "), event
    for client in (plain, first, second):
        await client.socket.close()
        assert client.socket.close_code == 1000, client.socket.close_code


async def test_too_large():
    client = await connect("NODE_A")
    try:
        await client.socket.send("x" * (600 * 1024))
        await asyncio.wait_for(client.socket.wait_closed(), PATIENCE)
    except websockets.ConnectionClosed:
        pass
    assert client.socket.close_code == 1009, client.socket.close_code


async def main():
    failed = passed = 0
    for name, test in [(n, f) for n, f in globals().items() if n.startswith("test_")]:
        try:
            await asyncio.wait_for(test(), 60)
            print(f"--- PASS: python {name}")
            passed += 1
        except Exception as error:  # noqa: BLE001 - the report names it
            print(f"--- FAIL: python {name}: {type(error).__name__}: {error}")
            failed += 1
    print(f"python3-websockets {websockets.__version__}: {passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
