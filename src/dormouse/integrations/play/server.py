"""A small server for one user on one machine.

It binds a loopback address and nothing else. Every path begins with a secret of this start, so that another user of the
machine, or a page in another tab, has no address to ask. A request is answered only where its Host is this server's (no
foreign name may be made to point here) and its Origin, where it has one, is too; what computes has to have one, and to
be JSON, which no form of another site can send. There is no CORS. No path that is asked for is one on the disk.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import queue
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from dormouse.errors import UserError
from dormouse.integrations.play.game import Game
from dormouse.integrations.play.moves import Ask, Bench, Emit, Stop
from dormouse.json_files import parse
from dormouse.registry import plugin_fault
from dormouse.report.templates import environment

PACKAGE = "dormouse.integrations.play"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LARGEST = 64 * 1024
"""Bytes of a request."""
PATIENCE = 30.0
"""Seconds in which a client has to have sent its request, or taken what it asked for."""
JOBS = ("move", "curve", "write")


def loopback(host: str) -> str:
    """The address to bind.

    Raises:
        UserError: others could reach it.
    """
    wanted = "127.0.0.1" if host == "localhost" else host
    try:
        sound = ipaddress.ip_address(wanted)
    except ValueError:
        sound = None
    if sound is None or not sound.is_loopback or sound.version != 4:
        raise UserError(
            f"the playground binds a loopback address only, and '{host}' is none: who reaches it can use the models",
            "leave --host out; from another machine go through ssh -L PORT:127.0.0.1:PORT, with the same port",
        )
    return wanted


class Server(ThreadingHTTPServer):
    """The playground at an address. All models are used in one thread: torch keeps a team of threads for each."""

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, host: str, port: int, game: Game, bench: Bench) -> None:
        self.game, self.bench = game, bench
        self.secret = secrets.token_urlsafe(24)
        self.closing = threading.Event()
        self.worker = ThreadPoolExecutor(1)
        self.pages = static()
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            self.worker.shutdown()
            raise UserError(
                f"port {port} of {host} cannot be had: {error.strerror or error}", "name another with --port"
            ) from error

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a request may call this server. Browsers leave the port of http itself away."""
        host, port = self.server_address[:2]
        return f"{host!s}:{port}", f"localhost:{port}", *((str(host), "localhost") if port == 80 else ())

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.hosts[0]}/{self.secret}/"

    def close(self) -> None:
        """Let go of the port, and of what is being computed."""
        self.closing.set()
        self.server_close()
        self.worker.shutdown(cancel_futures=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def static() -> dict[str, tuple[str, bytes]]:
    """Path -> (type, content) of the page."""
    folder = files(PACKAGE)
    style = environment(PACKAGE).get_template("play.css").render(groups=[], dark={})
    return {
        "": ("text/html", folder.joinpath("play.html").read_bytes()),
        "play.js": ("text/javascript", folder.joinpath("play.js").read_bytes()),
        "play.css": ("text/css", style.encode()),
    }


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    server_version, sys_version = "dormouse", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        """The page, its script and its style, and what it begins with."""
        path = self._allowed(computes=False)
        if path is None:
            return
        if path == "setup":
            self._send("application/json", json.dumps(self.server.game.setup()).encode())
        elif path in self.server.pages:
            self._send(*self.server.pages[path])
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """What computes: moves, curves and texts as lines of JSON; the riddle."""
        path = self._allowed(computes=True)
        if path is None:
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        raw = self.rfile.read(int(length))
        if path in JOBS:
            self._stream(path, raw)
            return
        try:
            answer = self._answer(path, raw)
        except UserError as error:
            answer = wrong(error)
        if answer is None:
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._send("application/json", json.dumps(answer).encode())

    def _answer(self, path: str, raw: bytes) -> dict[str, object] | None:
        game = self.server.game
        if path == "stop":
            said = parse(raw, Stop, "what the page asked", "reload the page")
            game.turn(said.page, said.turn)
            return {}
        if path == "deal":
            return game.deal()
        if path == "reveal":
            guess = parse(raw, dict[str, list[str]], "what the page asked", "reload the page")
            return game.reveal("".join(guess.get("subject", [])), guess.get("guess", []))
        return None

    def _stream(self, job: str, raw: bytes) -> None:
        """Do something in the models' thread, and send what it emits as it comes, a JSON object a line."""
        server = self.server
        said: queue.SimpleQueue[dict[str, object] | None] = queue.SimpleQueue()
        gone = threading.Event()

        def work() -> None:
            """All of it, with its end."""
            try:
                ask = parse(raw, Ask, "what the page asked", "reload the page")
                run(server, job, ask, said.put, gone.is_set)
            except UserError as error:
                said.put(wrong(error))
            except Exception as error:  # a fault of ours must not end the thread in which all models are
                ours = UserError(f"{type(error).__name__} in a {job}", "please report it")
                said.put(wrong(plugin_fault(error) or ours))
            finally:
                said.put(None)

        try:
            server.worker.submit(work)
            self._head("application/x-ndjson", None)
            while (one := said.get()) is not None:
                self.wfile.write(json.dumps(one).encode() + b"\n")
        except (OSError, RuntimeError):  # the page was closed, or the playground
            gone.set()

    def _allowed(self, computes: bool) -> str | None:
        """The path below the secret; None where the request is not one of our own page, and was refused."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        site = self.headers.get("Sec-Fetch-Site", "same-origin")
        mine = origin == f"http://{host}" if origin is not None else not computes
        json_body = not computes or self.headers.get_content_type() == "application/json"
        if host not in self.server.hosts or not mine or site not in ("same-origin", "none") or not json_body:
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        secret, _, path = self.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(secret.encode("utf-8", "replace"), self.server.secret.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return None
        return path

    def _send(self, kind: str, content: bytes) -> None:
        self._head(kind, len(content))
        self.wfile.write(content)

    def _head(self, kind: str, length: int | None, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Security-Policy": POLICY,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        for name, value in {**headers, **({} if length is None else {"Content-Length": str(length)})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: HTTPStatus) -> None:
        content = f"{status.value} {status.phrase}\n".encode()
        self._head("text/plain", len(content), status)
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the address holds the secret."""


def run(server: Server, job: str, ask: Ask, emit: Emit, gone: Callable[[], bool]) -> None:
    """Do what a page asks, until it has gone on to something else.

    Raises:
        UserError: there is no such thing.
    """
    game = server.game
    game.turn(ask.page, ask.turn)
    subject, blind = game.found(ask.subject)
    if job == "move":
        game.looked(ask.subject)

    def stale() -> bool:
        """Whether nobody waits for this any more."""
        return server.closing.is_set() or gone() or game.over(ask.page, ask.turn)

    if stale():
        return
    {"move": server.bench.move, "curve": server.bench.curve, "write": server.bench.write}[job](
        subject, ask, blind, emit, stale
    )
    emit({"kind": "done"})


def wrong(error: UserError) -> dict[str, object]:
    """A message for the page."""
    return {"kind": "error", "what": error.what, "remedy": error.remedy}
