"""The built page on a server that a test scripts: for what needs no stack, such as a chat of a thousand messages."""

import json
import mimetypes
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import BrowserContext, Route, WebSocketRoute

from gateway.http.static_files import content_security_policy, diagram_security_policy
from parley.contracts.ids import new_id
from tests.support.scripted_account import ScriptedAccount

DIST = Path(__file__).parents[2] / "web" / "dist"
ORIGIN = "https://parley.test"
TIME = "2026-01-05T12:00:00Z"
USER = "0199f3a2-0000-7000-8000-000000000001"


class ScriptedPage:
    """Serves the page, its requests and its socket to one browser context."""

    def __init__(self, context: BrowserContext) -> None:
        self.chats: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.running: dict[str, dict[str, Any]] = {}
        self.requested: list[str] = []
        self.lost: set[str] = set()
        """Beginnings of the paths of assets that are answered with 404."""
        self.lost_once: set[str] = set()
        """The same, for the first request only."""
        self.models: dict[str, Any] = {"items": ["demo", "demo-large"], "default": "demo"}
        self.demo = False
        self.account = ScriptedAccount(USER)
        self._sockets: list[WebSocketRoute] = []
        context.route("**/*", self._respond)
        context.route_web_socket("wss://parley.test/**", self._connect)

    def add_chat(self, title: str, updated_at: str = TIME) -> str:
        chat_id = new_id()
        self.messages[chat_id] = []
        self.chats[chat_id] = {
            "id": chat_id,
            "owner_id": USER,
            "title": title,
            "model": None,
            "system_prompt": None,
            "tip_id": None,
            "created_at": updated_at,
            "updated_at": updated_at,
            "version": 1,
            "running": False,
        }
        return chat_id

    def add_message(self, chat_id: str, role: str, content: str, **fields: Any) -> dict[str, Any]:
        """Add a message at the end of the chat's only branch."""
        chat = self.chats[chat_id]
        message = {
            "id": new_id(),
            "chat_id": chat_id,
            "parent_id": chat["tip_id"],
            "role": role,
            "author_id": USER if role == "user" else None,
            "content": content,
            "reasoning": "",
            "status": "sent" if role == "user" else "complete",
            "model": None if role == "user" else "demo",
            "error": None,
            "usage": None,
            "created_at": TIME,
            "version": chat["version"],
            **fields,
        }
        chat["tip_id"] = message["id"]
        self.messages[chat_id].append(message)
        return message

    def add_turn(self, chat_id: str, prompt: str, answer: str, **fields: Any) -> dict[str, Any]:
        self.add_message(chat_id, "user", prompt)
        return self.add_message(chat_id, "assistant", answer, **fields)

    def start_answer(self, chat_id: str, prompt: str) -> None:
        """Begin an answer, before the page opens the chat."""
        message = self.add_turn(chat_id, prompt, "", status="pending")
        self.chats[chat_id]["running"] = True
        self.running[chat_id] = {
            "generation_id": new_id(),
            "message_id": message["id"],
            "attempt": 1,
            "status": "running",
            "seq": 0,
            "after": 0,
            "text": "",
            "reasoning": "",
        }

    def delta(self, chat_id: str, text: str, kind: str = "text") -> None:
        running = self.running[chat_id]
        running["seq"] += 1
        running["text" if kind == "text" else "reasoning"] += text
        self.send(
            {
                "type": "delta",
                "chat_id": chat_id,
                "generation_id": running["generation_id"],
                "attempt": 1,
                "from": running["seq"],
                "to": running["seq"],
                "kind": kind,
                "text": text,
            }
        )

    def finish_answer(self, chat_id: str) -> None:
        running = self.running.pop(chat_id)
        chat = self.chats[chat_id]
        chat["version"] += 1
        chat["running"] = False
        message = self.messages[chat_id][-1]
        message |= {"content": running["text"], "status": "complete", "version": chat["version"]}
        self.send({"type": "message", "chat_id": chat_id, "version": chat["version"], "message": message})
        self.send({"type": "chat", "chat_id": chat_id, "version": chat["version"], "chat": chat})

    def send(self, frame: dict[str, Any]) -> None:
        for socket in self._sockets:
            socket.send(json.dumps(frame))

    # --- the server -----------------------------------------------------------------------------------------------

    def _connect(self, socket: WebSocketRoute) -> None:
        def receive(text: str | bytes) -> None:
            frame = json.loads(text)
            if frame["type"] == "auth":
                self._sockets.append(socket)
                socket.send(json.dumps({"type": "ready", "protocol": 1, "user_id": USER}))
            elif frame["type"] == "watch":
                socket.send(json.dumps(self._snapshot(frame["chat_id"], frame["after"])))

        socket.on_message(receive)

    def _snapshot(self, chat_id: str, after: dict[str, Any] | None) -> dict[str, Any]:
        chat = self.chats.get(chat_id)
        if chat is None:
            return {"type": "error", "code": "not_found", "message": "There is no such chat.", "chat_id": chat_id}
        items = self.messages[chat_id]
        recovered = after is not None and after["version"] == chat["version"]
        return {
            "type": "snapshot",
            "chat_id": chat_id,
            "version": chat["version"],
            "recovered": recovered,
            "chat": chat,
            "messages": [] if recovered else items[-50:],
            "generation": self.running.get(chat_id),
            "next": str(len(items) - 50) if len(items) > 50 and not recovered else None,
        }

    def _respond(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        self.requested.append(route.request.url)
        if f"{address.scheme}://{address.netloc}" != ORIGIN:
            route.abort()
        elif address.path.startswith("/v1/"):
            self._respond_api(route, address.path[3:], parse_qs(address.query))
        else:
            self._respond_file(route, address.path)

    def _respond_file(self, route: Route, path: str) -> None:
        file = DIST / (path.lstrip("/") if "." in path else "index.html")
        once = {lost for lost in self.lost_once if path.startswith(lost)}
        self.lost_once -= once
        if once or any(path.startswith(lost) for lost in self.lost) or not file.is_file():
            route.fulfill(status=404, body="")
            return
        headers = {
            "Content-Type": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
            "X-Content-Type-Options": "nosniff",
            "Access-Control-Allow-Origin": "*",
        }
        if file.name == "diagram.html":
            headers["Content-Security-Policy"] = diagram_security_policy()
        elif file.suffix == ".html":
            headers["Content-Security-Policy"] = content_security_policy("wss://parley.test")
        route.fulfill(body=file.read_bytes(), headers=headers)

    def _respond_api(self, route: Route, path: str, query: dict[str, list[str]]) -> None:
        method = route.request.method
        about_account = self.account.respond(method, path, json.loads(route.request.post_data or "null"))
        if about_account is not None:
            status, body = about_account
            route.fulfill(status=status, json=body) if body is not None else route.fulfill(status=status)
        elif path == "/session":
            status, body = self.account.session()
            route.fulfill(status=status, json=body)
        elif path == "/config":
            limits = {"content_bytes": 131072}
            config = {"push_url": "/ws", "guests": True, "default_model": "demo", "demo": self.demo}
            config["auth"] = self.account.auth
            route.fulfill(json={**config, "version": "test", "limits": limits})
        elif path == "/models":
            route.fulfill(json=self.models)
        elif path == "/push-ticket":
            route.fulfill(json={"ticket": "t", "expires_at": "2099-01-01T00:00:00Z"})
        elif path == "/chats" and route.request.method == "GET":
            newest = sorted(self.chats.values(), key=lambda chat: str(chat["updated_at"]), reverse=True)
            route.fulfill(json={"items": newest, "next": None})
        elif path.endswith("/messages") and route.request.method == "GET":
            items = self.messages[path.split("/")[2]]
            end = int(query["before"][0])
            begin = max(0, end - 50)
            route.fulfill(json={"items": items[begin:end], "next": str(begin) if begin else None})
        elif path == "/search":
            word = query["q"][0].lower()
            hits = [
                {
                    "chat_id": chat_id,
                    "chat_title": self.chats[chat_id]["title"],
                    "message_id": message["id"],
                    "role": message["role"],
                    "excerpt": message["content"][:200],
                }
                for chat_id, messages in self.messages.items()
                for message in messages
                if word in message["content"].lower()
            ]
            route.fulfill(json={"items": hits, "next": None})
        elif path.startswith("/chats/") and route.request.method == "PATCH":
            chat = self.chats[path.split("/")[2]]
            chat |= json.loads(route.request.post_data or "{}")
            chat["version"] += 1
            self.send({"type": "chat", "chat_id": chat["id"], "version": chat["version"], "chat": chat})
            route.fulfill(json=chat)
        else:
            route.fulfill(status=202, json={})
