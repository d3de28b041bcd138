"""The part of dev/test-api that talks to the nodes: clients, checks with what is really there, then schemathesis."""

import json
import os
import subprocess
import sys
import time
from urllib.parse import quote

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from websocket import WebSocket  # noqa: E402

ws_1, ws_2, admin_1, admin_2, token, examples = sys.argv[1:7]
rooms = ["lobby", 'a/b "c" {d}* %2F', "<img src=x onerror=alert(1)>", "Größe:é", "log:one", "x" * 255]
passed = 0


def check(name, holds, seen=""):
    global passed
    if not holds:
        print(f"test-api: FAILED: {name}; seen: {seen}")
        sys.exit(1)
    passed += 1
    print(f"test-api: ok: {name}", flush=True)


clients = []
for number in range(24):
    client = WebSocket(ws_1 if number % 2 else ws_2, ["conduit.v1.json"])
    for room in rooms[: 1 + number % len(rooms)]:
        client.ask("join_room", {"room": room})
    clients.append(client)
ids = [client.ask("status")["client_id"] for client in clients]
publisher = WebSocket(ws_1, ["conduit.v1.json"])
publisher.ask("join_room", {"room": "log:one"})
for number in range(5):
    publisher.ask("broadcast", {"room": "log:one", "type": "note", "payload": {"n": number}})

# Half of them are known to the generators, which disconnect and kick what they know.
os.environ["CONDUIT_NAMES"] = json.dumps({"names": rooms, "clients": ids[:12], "nodes": ["node-1", "node-2"]})

import schemathesis  # noqa: E402
import api_hooks  # noqa: E402, F401

headers = {"Authorization": f"Bearer {token}"}
schemas = [
    schemathesis.openapi.from_url(f"{admin}/api/v1/openapi.json", headers=headers) for admin in (admin_1, admin_2)
]
check("both nodes have the same document", schemas[0].raw_schema == schemas[1].raw_schema)


def ask(node, method, path, **values):
    parts = {name: quote(value, safe="") for name, value in values.pop("path_parameters", {}).items()}
    case = schemas[node][path][method].Case(path_parameters=parts, **values)
    response = case.call(base_url=(admin_1, admin_2)[node], headers=headers)
    case.validate_response(response, headers=headers)
    return response.json()


for node in (0, 1):
    deadline = time.monotonic() + 10
    while True:
        page = ask(node, "GET", "/api/v1/rooms", query={"sort": "members"})
        seen = {row["room"]: (row["members"], row["nodes"]) for row in page["rooms"]}
        if len(seen) == len(rooms) or time.monotonic() > deadline:
            break
    wanted = {room: (24 - 4 * index + (room == "log:one"), 2 if index < 5 else 1) for index, room in enumerate(rooms)}
    check(f"node-{node + 1} lists the rooms of both nodes", seen == wanted and page["unreachable"] == [], page)
    paged, cursor = [], None
    while True:
        query = {"limit": 4, "sort": "members"} | ({"cursor": cursor} if cursor else {})
        page = ask(node, "GET", "/api/v1/rooms", query=query)
        paged += [row["room"] for row in page["rooms"]]
        cursor = page.get("cursor")
        if not cursor:
            break
    check(f"node-{node + 1} gives every room once, page by page", sorted(paged) == sorted(rooms), paged)
    for room in rooms:
        found = ask(node, "GET", "/api/v1/rooms/{room}", path_parameters={"room": room})
        assert found["room"] == room and found["members"] == wanted[room][0], found
        assert ask(node, "GET", "/api/v1/rooms/{room}/presence", path_parameters={"room": room})["count"] == found["members"]
    history = ask(node, "GET", "/api/v1/rooms/{room}/history", path_parameters={"room": "log:one"}, query={"limit": 3})
    check(f"node-{node + 1} reads the log", [it["offset"] for it in history["messages"]] == [3, 4, 5], history)
    for id in ids:
        found = ask(node, "GET", "/api/v1/clients/{client}", path_parameters={"client": id})
        assert found["client_id"] == id and found["remote_address"] == "127.0.0.1" and found["rooms"], found
    listed, cursor = [], None
    while True:
        query = {"limit": 5} | ({"cursor": cursor} if cursor else {})
        page = ask(node, "GET", "/api/v1/clients", query=query)
        listed += [row["client_id"] for row in page["clients"]]
        cursor = page.get("cursor")
        if not cursor:
            break
    check(f"node-{node + 1} lists every client once, by id", listed == sorted(ids + [publisher.ask("status")["client_id"]]))

arguments = [
    os.path.join(os.path.dirname(os.path.abspath(sys.executable)), "schemathesis"), "run", f"{admin_1}/api/v1/openapi.json",
    "--header", f"Authorization: Bearer {token}", "--checks", "all", "--max-examples", examples,
    "--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--output-truncate", "false",
    # It ends a node.
    "--exclude-operation-id", "drainNode", "--output-sanitize", "false", "--warnings", "off", "--request-timeout", "20", *sys.argv[7:],
]
result = subprocess.run(arguments, cwd=os.environ["RUN"]).returncode
check("schemathesis has no complaint", result == 0)
left = [id for id in ids[12:] if ask(1, "GET", "/api/v1/clients/{client}", path_parameters={"client": id})["client_id"] == id]
check("clients that nobody has named are still there", left == ids[12:], left)
if "/api/v1/nodes/{node}/drain" in schemas[0].raw_schema["paths"]:
    path = "/api/v1/nodes/{node}/drain"
    for node, body in (("nobody", {}), ("node-2", {"timeout": 1}), ("node-2", {"timeout_ms": 0})):
        assert "error" in ask(0, "POST", path, path_parameters={"node": node}, body=body, media_type="application/json")
    answer = ask(0, "POST", path, path_parameters={"node": "node-2"}, body={}, media_type="application/json")
    check("node-2 is drained by node-1", answer == {"node_id": "node-2", "state": "draining", "unreachable": []}, answer)
print(f"test-api: {passed} passed, 0 failed")
