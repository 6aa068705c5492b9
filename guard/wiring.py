"""Choose every implementation: this file and :mod:`guard.wiring_app` are the only places that do.

Parts are made when they are first asked for, so that a command imports only what it needs.
"""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from guard.settings import ConfigurationError, Settings
from learner import lease, policies
from learner.capture import Deadlines
from learner.errors import ConflictError
from learner.holder import is_dead, my_name
from learner.outcomes import BufferSettings
from learner.store import Keys, Store

if TYPE_CHECKING:
    from filters import Guardian
    from filters.encoder import OnnxEncoder
    from filters.policy import Policy
    from filters.types import Filter
    from learner.audit import Trail
    from learner.buffer import Buffer
    from learner.gate import Gate
    from learner.index import Index
    from learner.references import References
    from learner.rollback import Rollback, Verifier
    from learner.routes import Routes
    from learner.run_outcome import Judging
    from learner.secrets import KeyedHash
    from learner.settler import Settler
    from learner.trace import Trace
    from learner.trainer import Trainer
    from learner.types import Bot
    from learner.updates import UpdateLog
    from learner.versions import Versions


def now_ms() -> int:
    """Return UTC milliseconds since 1970; the one clock of every process."""
    return time.time_ns() // 1_000_000


def deadlines_of(settings: Settings) -> Deadlines:
    """Return how long what a capture leaves is kept."""
    learning = settings.learning
    return Deadlines(
        exchange_ms=learning.exchange_s * 1000,
        held_ms=learning.held_s * 1000,
        quarantined_ms=learning.quarantined_s * 1000,
    )


def buffer_settings(settings: Settings) -> BufferSettings:
    """Return the buffer's limits."""
    learning = settings.learning
    return BufferSettings(
        k_authors=learning.k_authors,
        young_ms=learning.young_s * 1000,
        author_cap=learning.author_per_day,
        conversation_cap=learning.conversation_per_day,
        total_cap=learning.total_per_day,
        feedback_cap=learning.feedback_per_day,
        max_held=learning.max_held,
        max_quarantined=learning.max_quarantined,
        admitted_ms=learning.admitted_s * 1000,
        deadlines=deadlines_of(settings),
    )


def first_policy(settings: Settings) -> Policy:
    """Return the policy of the settings' file, or the shipped one where there is no such file.

    Raises
    ------
    PolicyError
        The file is not a policy; the message names the key.
    ConfigurationError
        The settings name a file that is not there.
    """
    from filters.policy import Policy

    path = Path(settings.policy.file)
    if path.is_file():
        return Policy.from_toml(path.read_text("utf-8"))
    if settings.policy.file != type(settings.policy).model_fields["file"].default:
        raise ConfigurationError(f"there is no policy file {path}: mend policy.file, or leave it out")
    return Policy.default()


class Wiring:
    """The parts of one guard over one store, for plain code: the learner, the command line, the admin API's threads."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self.settings = settings
        self.redis_url = redis_url
        self.keys = Keys(settings.bot.id)
        self.data_dir = settings.store.data_dir

    @cached_property
    def store(self) -> Store:
        """The plain client."""
        return Store(self.redis_url)

    def close(self) -> None:
        """Close the store's connections."""
        self.store.close()

    @cached_property
    def hashed(self) -> KeyedHash:
        """The data folder's keyed hash."""
        from learner.secrets import KeyedHash, load_secret

        return KeyedHash(load_secret(self.data_dir))

    @cached_property
    def index(self) -> Index:
        """Where settled samples are found."""
        from learner.index import Index

        return Index(self.data_dir)

    @cached_property
    def trail(self) -> Trail:
        """What happened, sealed or not."""
        from learner.audit import Trail

        return Trail(self.store, self.keys, self.data_dir)

    @cached_property
    def buffer(self) -> Buffer:
        """What is held, admitted and quarantined."""
        from learner.buffer import Buffer

        return Buffer(self.store, self.keys, now_ms, buffer_settings(self.settings), self.index)

    @cached_property
    def updates(self) -> UpdateLog:
        """The write-ahead log of updates."""
        from learner.updates import UpdateLog

        return UpdateLog(self.data_dir, lambda text: self.hashed(text, "content"))

    @cached_property
    def versions(self) -> Versions:
        """What versions there are: of the embedded bot, or the routes of the upstream."""
        from learner.versions import Versions

        if self.settings.upstream.external:
            return self.routes
        return Versions(self.store, self.keys, self.data_dir, now_ms, self.updates)

    @cached_property
    def routes(self) -> Routes:
        """The upstream's routes."""
        from learner.routes import Routes

        routes = self.settings.upstream.routes
        return Routes(self.store, self.keys, self.data_dir, now_ms, self.updates, routes)

    @cached_property
    def settler(self) -> Settler:
        """What seals the log."""
        from learner.settler import Settler

        return Settler(self.store, self.keys, self.data_dir, now_ms)

    @cached_property
    def encoder(self) -> OnnxEncoder:
        """The guard's encoder."""
        return _encoder(self.settings.scoring.weights)

    @cached_property
    def bot(self) -> Bot:
        """The embedded bot.

        Raises
        ------
        ConflictError
            An upstream answers, and it has no trainer of ours.
        """
        from learner.bots.memory import MemoryBot
        from learner.routes import NO_TRAINER

        if self.settings.upstream.external:
            raise ConflictError(NO_TRAINER)
        own = self.settings.bot.encoder
        encoder = _encoder(own) if own and own != self.settings.scoring.weights else self.encoder
        return MemoryBot(encoder, max_rows=self.settings.bot.max_rows)

    @cached_property
    def filters(self) -> tuple[Filter, ...]:
        """The filters that run, in order."""
        from guard.filtering import filters_of

        return filters_of(self.settings.scoring, self.encoder)

    @cached_property
    def guardian(self) -> Guardian:
        """Filters and the live policy (the file's, before one is live)."""
        from filters import Guardian

        return Guardian(self.filters, self.policy() or first_policy(self.settings), self.encoder.count_tokens)

    def policy(self) -> Policy | None:
        """Return the live policy, None before the first start."""
        from filters.policy import Policy

        stored = self.store.run(policies.read(self.keys))
        return Policy.from_json(stored.json) if stored.json else None

    @cached_property
    def gate(self) -> Gate:
        """What a candidate must pass."""
        from learner.gate import Gate

        return Gate(self.bot, self.data_dir, self.encoder, self.guardian.score_many)

    @cached_property
    def references(self) -> References:
        """The live probes."""
        from learner.references import References

        return References(self.store, self.keys, self.data_dir, now_ms)

    @cached_property
    def rollback(self) -> Rollback:
        """The way back."""
        from learner.rollback import Rollback

        verifier: Verifier = self.routes if self.settings.upstream.external else self.bot
        if self.settings.upstream.external:
            self.routes.ensure_live()
        parts = (self.store, self.keys, self.data_dir, now_ms, verifier, self.buffer, self.versions, self.updates)
        return Rollback(*parts)

    @cached_property
    def trace(self) -> Trace:
        """What is behind a reply."""
        from learner.trace import Trace

        return Trace(self.bot, self.data_dir, self.versions, self.buffer)

    @property
    def holder(self) -> str:
        """What this process calls itself when it takes the learner's lease."""
        return my_name()

    def end_dead_lease(self) -> None:
        """Give back the lease of a learner that was killed, so that nobody waits until it lapses.

        Only with the bundled Redis: then every holder runs on this machine. One that still lives somewhere is refused
        by its fencing token.
        """
        if self.settings.store.redis_url:
            return
        if is_dead(other := self.store.run(lease.holder_of(self.keys))):
            self.store.run(lease.release(self.keys, other, now_ms()))

    @cached_property
    def trainer(self) -> Trainer:
        """What makes updates."""
        from learner.run_outcome import Parts, TrainerSettings
        from learner.trainer import Trainer

        parts = Parts(
            bot=self.bot,
            store=self.store,
            keys=self.keys,
            data_dir=self.data_dir,
            clock=now_ms,
            buffer=self.buffer,
            versions=self.versions,
            updates=self.updates,
            gate=self.gate,
            references=self.references,
            rollback=self.rollback,
        )
        return Trainer(parts, self.judging, self.holder, TrainerSettings(batch_max=self.settings.learning.batch))

    def judging(self) -> Judging:
        """Return the live policy as a judge of stored scores, with the filter versions that count."""
        from learner.judge import judge_of
        from learner.run_outcome import Judging

        policy = self.policy() or first_policy(self.settings)
        return Judging(judge_of(policy), {one.name: one.version for one in self.filters})


def _encoder(folder: str) -> OnnxEncoder:
    """Return the encoder of a folder, the shipped one without; its file must be the one that was built.

    Raises
    ------
    WeightsError
        The file is missing or broken, or its sha256 is not the one noted when it was built.
    """
    from filters.encoder import OnnxEncoder
    from filters.errors import WeightsError
    from filters.models.source import ENCODER, FOLDER

    place = Path(folder) if folder else FOLDER
    encoder = OnnxEncoder(place)
    noted = place / f"{ENCODER}.recipe"
    if noted.is_file() and encoder.version not in noted.read_text("ascii").split():
        raise WeightsError(f"{place / ENCODER} is not the file that was built: remove it and run `make setup`")
    return encoder
