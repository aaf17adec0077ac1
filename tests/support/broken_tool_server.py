"""A tool server over stdio that breaks the protocol: ``python broken_tool_server.py MODE PIDS``.

It is written without the SDK, which would refuse to. The file ``PIDS`` gets a line for each process.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

TOOLS = ("echo", "environment", "exit", "large", "latin", "log", "sleep", "typed")


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def reply(request: dict[str, Any], **members: Any) -> None:
    write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **members}).encode() + b"\n")


def content(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


def call(request: dict[str, Any]) -> None:
    name, arguments = request["params"]["name"], request["params"]["arguments"]
    if name == "exit":
        os._exit(3)
    if name == "log":
        write(b"Starting\n\x1b[31m{not json\n[]\n\n\xff\xfe\n")
    if name == "sleep":
        time.sleep(arguments["seconds"])
    if name == "latin":
        data = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": content("caf#")}).encode()
        write(data.replace(b"#", b"\xe9") + b"\n")
        return
    text = "x" * arguments["size"] if name == "large" else "Noon."
    if name == "environment":
        text = json.dumps(dict(os.environ))
    if arguments.get("id_last"):
        write(json.dumps({"result": content(text), "jsonrpc": "2.0", "id": request["id"]}).encode() + b"\n")
    else:
        reply(request, result=content(text))


def main() -> None:
    mode, pids = sys.argv[1:]
    with Path(pids).open("a") as file:
        file.write(f"{os.getpid()}\n")
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "banner":
        write(b"\xff\xfe Welcome\n")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "id" not in request or "method" not in request:
            continue
        method = request["method"]
        if method == mode:
            signal.pause()
        if method == "initialize":
            version = request["params"]["protocolVersion"]
            info = {"name": "broken", "version": "1"}
            reply(request, result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info})
        elif method == "tools/list":
            tools: list[dict[str, Any]] = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
            tools[-1]["outputSchema"] = {"type": "object", "required": ["time"]}
            reply(request, result={"tools": tools})
        elif method == "tools/call":
            call(request)
        else:
            reply(request, error={"code": -32601, "message": "Method not found"})
    if mode == "stubborn":
        signal.pause()


if __name__ == "__main__":
    main()
