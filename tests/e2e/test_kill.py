"""Promise 8 with real processes: the power goes in the middle of traffic, and everything acknowledged is there."""

from __future__ import annotations

import threading
from pathlib import Path

import openai

from tests.e2e.conftest import Server


class Traffic(threading.Thread):
    """One client that talks until its server is gone, and remembers what was acknowledged."""

    def __init__(self, server: Server, name: str, streaming: bool) -> None:
        super().__init__(daemon=True)
        self.client = server.client(author=name, conversation=name)
        self.streaming = streaming
        self.acknowledged: list[str] = []
        self.first = threading.Event()

    def run(self) -> None:
        for number in range(10_000):
            try:
                request_id, captured = self._stream(number) if self.streaming else self._whole(number)
            except (openai.APIError, OSError):
                return
            if captured == "yes":
                self.acknowledged.append(request_id)
                self.first.set()

    def _whole(self, number: int) -> tuple[str, str]:
        raw = self.client.chat.completions.with_raw_response.create(
            model="tay", messages=[{"role": "user", "content": f"what about number {number}?"}]
        )
        return raw.headers["X-Tayguard-Request-Id"], raw.headers["X-Tayguard-Captured"]

    def _stream(self, number: int) -> tuple[str, str]:
        raw = self.client.chat.completions.with_raw_response.create(
            model="tay", messages=[{"role": "user", "content": f"what about number {number}?"}], stream=True
        )
        extra: dict[str, str] = {}
        for chunk in raw.parse():
            extra = (chunk.model_extra or {}).get("tayguard", extra)
        return raw.headers["X-Tayguard-Request-Id"], extra.get("captured", "no")


def test_a_kill_in_the_middle_of_traffic_loses_nothing_acknowledged(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", workers=2).start()
    traffic = [Traffic(server, f"t{n}", streaming=bool(n % 2)) for n in range(4)]
    try:
        for round_number in range(3):
            for client in traffic if round_number == 0 else []:
                client.start()
            for client in traffic:
                assert client.first.wait(60)
            server.kill()
            for client in traffic:
                client.join(60)
                assert not client.is_alive()
            server.start()
            acknowledged = {request_id for client in traffic for request_id in client.acknowledged}
            captured = {row["request_id"] for row in server.cli_json("export", "--what", "exchanges")}
            assert acknowledged <= captured
            traffic = [Traffic(server, f"t{n}-{round_number}", streaming=bool(n % 2)) for n in range(4)]
            for client in traffic:
                client.start()
    finally:
        server.stop()
