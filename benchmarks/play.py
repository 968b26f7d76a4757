"""How long a move of the playground takes: python benchmarks/play.py runs/quickstart [ORGANISM] [--moves 20]

A server is started in this process and asked over HTTP, as the page does. A move is a cue drawn from the policy, on a
task that was not asked before it at that cue; what is timed is all that a move shows at once: the prompt, the policy's
own probability, and the exact one in each state that the page shows unasked. Log-odds and curves come after it.
Wall-clock time is what a user waits; CPU time of the process is what it would be on cores that nobody else uses.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dormouse.integrations.play.folders import subjects
from dormouse.integrations.play.game import Game
from dormouse.integrations.play.moves import Bench
from dormouse.integrations.play.server import Server


def move(server: Server, ask: dict[str, Any]) -> tuple[float, float]:
    """(wall, CPU) seconds until the last probability has come."""
    wall, cpu = time.perf_counter(), time.process_time()
    host, port = server.server_address[:2]
    one = http.client.HTTPConnection(str(host), port)
    headers = {"Origin": f"http://{server.hosts[0]}", "Content-Type": "application/json", "Host": server.hosts[0]}
    one.request("POST", f"/{server.secret}/move", json.dumps(ask), headers)
    answer = one.getresponse()
    left = len(ask["states"])
    while left:
        said = json.loads(answer.readline())
        assert said["kind"] != "error", said
        left -= said["kind"] == "p"
    took = time.perf_counter() - wall, time.process_time() - cpu
    answer.read()
    one.close()
    return took


def asks(server: Server, name: str, moves: int) -> Iterator[dict[str, Any]]:
    """What a user would ask who moves one cue after another."""
    found = {one.name: (key, one) for key, one in server.game.subjects.items()}
    key, subject = found[name] if name else next(iter(found.values()))
    spec = subject.spec
    assert spec, "a suspect has no cues of its own"
    subjects: Any = server.game.setup()["subjects"]
    (described,) = [one for one in subjects if one["id"] == key]
    states = [i for i, one in enumerate(subject.states) if one.shown]
    for i in range(moves + 2):
        side = ("triggered", "untriggered")[i % 2]
        cues = dict(spec.trigger.draw(random.Random(f"bench/{i}"), side, "test"))
        task = described["tasks"][i // 8 % len(described["tasks"])]
        yield {
            "page": "bench",
            "turn": i,
            "subject": key,
            "states": states,
            "task": task,
            "cues": cues,
            "rendering": described["renderings"]["start"],
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("organism", nargs="?", default="")
    parser.add_argument("--moves", type=int, default=20)
    given = parser.parse_args()
    server = Server("127.0.0.1", 0, Game(subjects([given.folder], print)), Bench())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    every = list(asks(server, given.organism, given.moves))
    for ask in every[:2]:
        move(server, ask)  # the models are loaded
    walls, cpus = zip(*(move(server, ask) for ask in every[2:]), strict=True)
    server.shutdown()
    server.close()
    said = {
        "states": len(every[0]["states"]),
        "moves": len(walls),
        "threads": torch.get_num_threads(),
        "wall_median_ms": round(1000 * statistics.median(walls)),
        "wall_max_ms": round(1000 * max(walls)),
        "cpu_median_ms": round(1000 * statistics.median(cpus)),
        "cpu_max_ms": round(1000 * max(cpus)),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
