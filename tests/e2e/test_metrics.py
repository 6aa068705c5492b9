"""What Prometheus sees of a server with several workers."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from tests.e2e.conftest import Server


def test_the_counts_of_two_workers_add_up_whichever_of_them_is_asked(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", workers=2).start()
    try:
        sent = 24
        for number in range(sent):
            with server.client(conversation=f"c{number}") as client:  # a connection each: any worker may take it
                client.chat.completions.create(model="tay", messages=[{"role": "user", "content": "hello there"}])
        scrapes = [httpx.get(f"{server.url}/metrics").text for _ in range(8)]
        answered = {path.name.split("_")[1] for path in (server.data_dir / "metrics").glob("counter_*.db")}
    finally:
        server.stop()
    assert len(answered) == 2, "only one worker ever counted anything"
    for text in scrapes:
        counts = re.findall(r"^tayguard_messages_total\{.*\} (\S+)$", text, re.MULTILINE)
        assert sum(map(float, counts)) == sent
        assert "_created" not in text
