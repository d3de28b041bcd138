"""Programs on this machine for the checks and measurements in dev/: the node's own, ports, ends, tokens."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import platform
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def built_program():
    """CONDUIT_BINARY, or what was built last."""
    found = [os.path.join(root, ".build", kind, "conduit") for kind in ("release", "debug")]
    found = [path for path in found if os.access(path, os.X_OK)]
    return executable(os.environ.get("CONDUIT_BINARY") or max(found, key=os.path.getmtime, default=""))


def release_program():
    """CONDUIT_BINARY, or the release build: what is measured is that."""
    return executable(os.environ.get("CONDUIT_BINARY") or os.path.join(root, ".build", "release", "conduit"))


def executable(path):
    if not os.access(path, os.X_OK):
        sys.exit(f"{path or 'conduit'} is not built: swift build -c release --product conduit, or set CONDUIT_BINARY")
    return path


def environment(**settings):
    """This shell's, without what is set in it for other nodes."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CONDUIT_")}
    return {**own, **settings}


def free_port():
    """Below the range from which the kernel takes the ports of outgoing connections, so that it can be had again."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(what, condition, patience=60):
    """Until the condition holds; what a connection that isn't there yet throws counts as no."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if answer := condition():
                return answer
        time.sleep(0.05)
    sys.exit(f"{what}: not within {patience} s")


def redis_server(port, folder=None):
    return subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        + (["--dir", folder] if folder else []),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def listening_node(command, patience=60):
    """A node whose ports are any free ones: the process, its port and its admin port, once it serves."""
    process = subprocess.Popen([*command, "--port", "0", "--admin-port", "0", "--set", "log.format=json"],
                               env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    ports = {}
    # A node that says nothing more is ended, and with it the lines.
    limit = threading.Timer(patience, process.kill)
    limit.daemon = True
    limit.start()
    for line in process.stderr:
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if entry.get("message") in ("serving", "admin port"):
                ports[entry["message"]] = int(re.search(r":(\d+)(/|$)", entry["address"])[1])
        if len(ports) == 2:
            break
    limit.cancel()
    if len(ports) < 2:
        stop(process)
        sys.exit(f"a node did not start within {patience} s: {' '.join(command)}")
    # Nobody reads on, and a full pipe would stop the node.
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return process, ports["serving"], ports["admin port"]


def stop(process, signal_=signal.SIGTERM, patience=15):
    """Asks, waits, insists."""
    if process.poll() is None:
        process.send_signal(signal_)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def token(secret, user, seconds=36_000, **claims):
    """A JWT of a user, signed with HS256."""
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    body = {"sub": user, "exp": int(time.time()) + seconds, **claims}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(body).encode())
    return (signed + b"." + part(hmac.new(secret.encode(), signed, hashlib.sha256).digest())).decode()


def processor():
    """What this machine calls its processor."""
    with open("/proc/cpuinfo") as file:
        found = re.search(r"model name\s*: (.*)", file.read())
    return found[1] if found else platform.machine()


def replace_part(page, begin, end, text):
    """Puts a text between two lines of a page."""
    with open(page, encoding="utf-8") as file:
        before, rest = file.read().split(begin)
    with open(page, "w", encoding="utf-8") as file:
        file.write(before + begin + text + end + rest.split(end)[1])
