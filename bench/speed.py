"""What a score costs, beside detoxify's own architecture in the same run: ``python -m bench.speed ../shared/data``.

One message on the full path (`Guardian.judge`: readings, units, policy; nothing cached), jigsaw_eval and topical_chat
mixed; encoder passes, counted at `OnnxEncoder.run`; messages a second over all cores. Writes ``bench/out/speed.json``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from bench.data import read
from bench.figures import save
from bench.peer import Peer, unbound
from bench.tables import table
from filters.encoder import OnnxEncoder, Pass
from filters.guardian import Guardian
from filters.language import ByLanguage
from filters.toxicity import ToxicityFilter
from filters.types import Item
from guard.score_flow import together
from guard.score_lines import Lines
from guard.score_pool import Pool
from guard.score_worker import Post, Scorer, scorer_of
from guard.settings import load
from guard.wiring import first_policy

SEED = 3
TEXTS = 1_000
ABOUT = range(90, 111)  # characters of a text of about 100
WARM_UP = 10

Figures = dict[str, Any]


class Counting(OnnxEncoder):
    """The shipped encoder, which counts its passes."""

    passes = 0

    def run(self, units: Sequence[Sequence[int]], *, embed: bool = True) -> Pass:
        """Return the pass."""
        self.passes += 1
        return super().run(units, embed=embed)


def sampled(data: Path, count: int) -> dict[str, list[str]]:
    """Return both halves of the mix, and the texts of about 100 characters (a quarter as many, where there are)."""
    dice = random.Random(SEED)
    jigsaw = [row["comment_text"] for row in read(data, "jigsaw_eval")]
    chat = [row["message"] for row in read(data, "topical_chat_valid_freq")]
    short = [text for text in (*jigsaw, *chat) if len(text) in ABOUT]
    return {
        "jigsaw_eval": dice.sample(jigsaw, count // 2),
        "topical_chat": dice.sample(chat, count - count // 2),
        "short": dice.sample(short, min(len(short), max(WARM_UP, count // 4))),
    }


def took_ms(call: Callable[[], object]) -> float:
    """Return a call's milliseconds."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def spread(took: Sequence[float]) -> Figures:
    """Return median and 99th percentile."""
    return {"p50_ms": round(statistics.median(took), 3), "p99_ms": round(sorted(took)[int(len(took) * 0.99)], 3)}


def one_by_one(guardian: Guardian, peer: Peer, texts: Sequence[str]) -> Figures:
    """Return both sides' times of single texts; every text on both, now the one first, now the other."""
    sides: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("ours", lambda text: guardian.judge(Item(text))),
        ("peer", peer.one),
    )
    for text in texts[:WARM_UP]:
        for _, score in sides:
            score(text)
    took: dict[str, list[float]] = {"ours": [], "peer": []}
    for number, text in enumerate(texts):
        for name, score in sides if number % 2 else reversed(sides):
            took[name].append(took_ms(partial(score, text)))
    found: Figures = {name: spread(times) for name, times in took.items()}
    ratio = found["peer"]["p50_ms"] / found["ours"]["p50_ms"]
    return {"texts": len(texts), **found, "ratio_of_medians": round(ratio, 2)}


def passes(encoder: Counting, guardian: Guardian, texts: Sequence[str]) -> float:
    """Return the mean number of encoder passes of a message."""
    encoder.passes = 0
    for text in texts:
        guardian.judge(Item(text))
    return round(encoder.passes / len(texts), 4)


def throughput(texts: Sequence[str], cores: int) -> Figures:
    """Return messages a second of what `tayguard score` runs: its pool, and for comparison threads, and one thread."""
    settings = load(environ={})
    post = Post(settings.model_dump(mode="json"), first_policy(settings).to_json(), os.getpid())
    began = time.perf_counter()
    with Pool(cores, post.to_line()) as pool:
        while not pool.ready:
            pool.wait()
        start_s = time.perf_counter() - began
        data = "\n".join(json.dumps({"text": text}) for text in texts).encode()
        pooled = len(texts) * 1000 / took_ms(lambda: drained(data, pool, len(texts)))
    scorer = scorer_of(post)
    alone = len(texts) * 1000 / took_ms(lambda: [scorer.row(None, Item(text)) for text in texts])
    threads = len(texts) * 1000 / took_ms(lambda: in_threads(scorer, texts, cores))
    rates = {"processes": pooled, "one_thread": alone, "threads": threads}
    return {"cores": cores, "pool_start_s": round(start_s, 3), **{name: round(rate, 2) for name, rate in rates.items()}}


def drained(data: bytes, pool: Pool, count: int) -> None:
    """Score lines in the pool."""
    found = sum(len(rows) for rows in together(Lines(io.BytesIO(data)), pool))
    if found != count:
        raise RuntimeError(f"{found} rows came back for {count} lines")


def in_threads(scorer: Scorer, texts: Sequence[str], count: int) -> None:
    """Score texts in threads of one process, which share one session."""
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(lambda text: scorer.row(None, Item(text)), texts))


def shown(figures: Figures) -> str:
    """Return the tables."""
    rows = []
    for name, title in (("mixed", "jigsaw_eval and topical_chat mixed"), ("short", "about 100 characters")):
        one = figures[name]
        ours, peer = (f"{one[side]['p50_ms']:.1f} / {one[side]['p99_ms']:.1f} ms" for side in ("ours", "peer"))
        rows.append([f"{title} ({one['texts']:,})", ours, peer, f"{one['ratio_of_medians']:.1f}x"])
    head = ["one message, full path, p50 / p99", "ours", "detoxify's architecture", "ratio of medians"]
    each = figures["throughput"]
    lines = [
        ["`tayguard score`, its processes", f"{each['processes']:.1f}"],
        ["the same in threads of one process", f"{each['threads']:.1f}"],
        ["one thread", f"{each['one_thread']:.1f}"],
        [f"detoxify's architecture, batches of {figures['peer']['batch']}", f"{figures['peer']['rate']:.1f}"],
        ["ratio", f"{figures['throughput_ratio']:.1f}x"],
    ]
    second = table([f"messages a second, {each['cores']} cores", "measured"], lines)
    counts = [[name, f"{mean:.3f}"] for name, mean in figures["passes"].items()]
    return "\n\n".join([table(head, rows), second, table(["texts", "encoder passes a message"], counts)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--texts", type=int, default=TEXTS, help="texts in all, half of each set")
    chosen = parser.parse_args()
    texts = sampled(chosen.data, chosen.texts)
    mixed = [*texts["jigsaw_eval"], *texts["topical_chat"]]
    random.Random(SEED).shuffle(mixed)
    encoder, peer = Counting(), Peer()
    guardian = Guardian((ByLanguage(ToxicityFilter(encoder)),))
    cores = len(os.sched_getaffinity(0))
    figures: Figures = {"encoder": encoder.version, "seed": SEED}
    figures["mixed"] = one_by_one(guardian, peer, mixed)
    figures["short"] = one_by_one(guardian, peer, texts["short"])
    figures["passes"] = {
        "topical_chat (clean)": passes(encoder, guardian, texts["topical_chat"]),
        "jigsaw_eval": passes(encoder, guardian, texts["jigsaw_eval"]),
    }
    figures["throughput"] = throughput(mixed, cores)
    batch, tried = peer.best_batch(mixed)
    rate = round(peer.rate(mixed, batch), 3)
    figures["peer"] = {
        "parameters": peer.parameters,
        "threads": peer.threads,
        "batch": batch,
        "tried": tried,
        "rate": rate,
    }
    figures["throughput_ratio"] = round(figures["throughput"]["processes"] / rate, 2)
    print(shown(figures))
    print(f"\n{save('speed', figures)}")


if __name__ == "__main__":
    unbound("bench.speed")
    main()
