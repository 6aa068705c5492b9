"""The gate's probes: content-addressed, shipped, and changed by an explicit, audited call only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from learner.errors import CorruptError, LearnerError
from learner.folder import canonical, read_json, sha256, write_file
from learner.store import Call, Keys, Store
from learner.texts import plain
from learner.types import Clock


@dataclass(frozen=True, slots=True)
class SmallTalk:
    """A probe that any version must still answer acceptably: like one of ``accepted``."""

    prompt: str
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probes:
    """What the gate asks; ``id`` is the sha256 of its canonical JSON."""

    id: str
    small_talk: tuple[SmallTalk, ...]
    safety: tuple[str, ...]


def parse_probes(body: Mapping[str, Any]) -> Probes:
    """Return the probes in a JSON object; raises :class:`LearnerError` saying what is missing."""
    try:
        talk = tuple(SmallTalk(str(p["prompt"]), tuple(str(a) for a in p["accepted"])) for p in body["small_talk"])
        safety = tuple(str(prompt) for prompt in body["safety"])
    except (KeyError, TypeError) as exc:
        raise LearnerError("references need small_talk (a list of prompt and accepted) and safety (prompts)") from exc
    if not talk or not safety or not all(probe.accepted for probe in talk):
        raise LearnerError(
            "references need at least one small_talk probe with an accepted answer and one safety prompt"
        )
    return Probes(sha256(canonical(dict(body))), talk, safety)


def shipped_probes() -> dict[str, Any]:
    """Return the probes that come with this release, as JSON."""
    body: dict[str, Any] = json.loads((resources.files("learner.bots") / "memory_probes.json").read_text("utf-8"))
    return body


class References:
    """The live probes of a bot: a pointer in Redis to a file ``data_dir/references/<sha256>.json``."""

    def __init__(self, store: Store, keys: Keys, data_dir: Path, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._folder = data_dir / "references"
        self._clock = clock

    def live(self) -> Probes:
        """Return the accepted probes; at the first start the shipped ones are accepted, later releases change nothing.

        Raises
        ------
        CorruptError
            The file is not what its name says.
        """
        name = self._store.run(_accept(self._keys, "", "", self._clock(), "", ""))
        if not name:
            return self.accept(shipped_probes(), "learner", "first start", only_first=True)
        probes = parse_probes(read_json(self._folder / f"{name}.json"))
        if probes.id != name:
            raise CorruptError(f"references/{name[:12]}.json is damaged: `tayguard references accept` sets them anew")
        return probes

    def accept(self, body: Mapping[str, Any], actor: str, reason: str, *, only_first: bool = False) -> Probes:
        """Make these the live probes and log who did it and why."""
        probes = parse_probes(body)
        write_file(self._folder / f"{probes.id}.json", canonical(dict(body)), "references write")
        how = "first" if only_first else "set"
        self._store.run(_accept(self._keys, how, probes.id, self._clock(), actor, reason))
        return probes


def _accept(keys: Keys, how: str, name: str, at_ms: int, actor: str, reason: str) -> Call[str]:
    return Call("references", (keys.prefix,), (how, name, at_ms, plain(actor), plain(reason)), str)
