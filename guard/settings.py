"""The settings: one frozen tree, built once at the edge and passed down.

Values come from ``tayguard.toml`` and, over it, from ``TAYGUARD_SECTION__NAME`` in the environment. A name that no
setting has refuses to start and names the nearest one, which pydantic-settings does not do by itself.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from guard.dialects.relay_settings import RelaySettings
from guard.dialects.upstream_settings import RouteName, UpstreamSettings

PREFIX = "TAYGUARD_"
DATA_DIR_VARIABLE = "TAYGUARD_DATA_DIR"
CONFIG_VARIABLE = "TAYGUARD_CONFIG"
DEFAULT_FILE = Path("tayguard.toml")


LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2}$")]


class ConfigurationError(Exception):
    """A setting is unknown or has a value that it may not have; the message is one line that says what to do."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BotSettings(_Section):
    """The bot behind the guard."""

    id: str = Field(
        default="tay",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="Name of the bot; part of every Redis key.",
    )
    encoder: str = Field(
        default="", description="Folder of the bot's own encoder; empty: the shipped one. Its hash is in every version."
    )
    max_rows: int = Field(
        default=200_000, ge=1_000, description="Rows that a version may hold; an update past it is refused."
    )


class ServerSettings(_Section):
    """The listening side."""

    host: str = Field(default="127.0.0.1", description="Address to bind; any but loopback needs configured keys.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to bind; 0 picks a free one.")
    workers: int = Field(default=1, ge=1, le=64, description="Worker processes; `serve --workers` wins.")
    shutdown_s: float = Field(
        default=10.0, gt=0, le=600, description="How long requests in flight may finish at a stop."
    )
    start_s: float = Field(
        default=120.0, gt=0, le=3600, description="How long a process may take until it says it is ready."
    )
    trust_system: bool = Field(
        default=True, description="Pass system and developer messages on unscored; else they are judged as a person's."
    )
    dialects: tuple[str, ...] = Field(
        default=(), description="Installed plug-ins (`tayguard.dialects`) whose routes are served as well."
    )
    docs: bool = Field(default=True, description="Serve the API's description at `/docs` and `/openapi.json`.")


class StoreSettings(_Section):
    """Where data lives."""

    redis_url: str = Field(default="", description="A Redis server's URL; empty: the bundled redis-server.")
    data_dir: Path = Field(default=Path("data"), description="Data folder; `TAYGUARD_DATA_DIR` wins.")
    redis_server: str = Field(default="", description="Another redis-server to start instead of the bundled one.")
    timeout_s: float = Field(default=1.0, gt=0, le=60, description="How long a worker waits for Redis.")
    lock_s: float = Field(
        default=10.0, ge=0, le=600, description="How long a command waits for the data folder's lock."
    )


class ScoringSettings(_Section):
    """What scores texts, and how long it may take."""

    filters: tuple[str, ...] = Field(
        default=("toxicity",),
        min_length=1,
        description="Filters that run: `toxicity`, `detoxify`, or the name of an installed plug-in.",
    )
    languages: dict[LanguageCode, str] = Field(
        default={},
        description="Table of a language (`fr`) to the filter that reads it in place of the first: `detoxify`, with "
        "its multilingual model, or an installed plug-in.",
    )
    weights: str = Field(default="", description="Folder of the encoder's weights; empty: the shipped ones.")
    detoxify_model: str = Field(default="original", description="Model of the detoxify filter; empty: a file of yours.")
    detoxify_file: str = Field(default="", description="File of its weights; empty: downloaded once.")
    detoxify_sha256: str = Field(default="", description="What that file's sha256 begins with, 8 digits at least.")
    detoxify_config: str = Field(default="", description="Folder of its configuration and tokenizer.")
    deadline_s: float = Field(
        default=5.0,
        gt=0,
        le=600,
        description="How long one sentence may wait to be scored, and then may take; later is unscored.",
    )
    queue: int = Field(
        default=64, ge=1, le=100_000, description="Scorings that may wait in a worker; more are refused."
    )
    threads: int = Field(default=1, ge=1, le=64, description="Threads that score in a worker.")
    cache_entries: int = Field(
        default=8_192,
        ge=0,
        le=1_000_000,
        description="Scored sentences that a worker remembers (3 kB each), and Redis as many; 0: none.",
    )
    cache_shared: bool = Field(
        default=False,
        description="Share what was scored over Redis: pays where texts come again at other workers (`bench.cache`).",
    )


class LimitsSettings(_Section):
    """What a request may ask for."""

    max_body_bytes: int = Field(default=1_048_576, ge=1_024, description="Bytes of a request's body.")
    max_messages: int = Field(default=512, ge=1, description="Messages in a request.")
    max_text_chars: int = Field(default=100_000, ge=1, description="Characters of all texts of a request.")
    max_n: int = Field(default=8, ge=1, le=128, description="Choices (`n`) of a request.")
    max_units: int = Field(
        default=2_000,
        ge=1,
        description="Sentences, or runs of 64 tokens, in a request's new texts, more are refused; and in a choice of a "
        "reply, the rest is unscored.",
    )
    conversation_wait_s: float = Field(
        default=30.0, ge=0, le=600, description="How long a request waits for the one before it in its conversation."
    )


class LearningSettings(_Section):
    """What may be learned, and how fast."""

    mode: Literal["imitate", "reinforce", "off"] = Field(
        default="imitate", description="Learn what people say, learn well-rated replies, or nothing."
    )
    cool_down_s: int = Field(default=21_600, ge=0, description="How long a sample is held before it can be admitted.")
    k_authors: int = Field(default=3, ge=1, description="Independent supporters that a repeated pair needs.")
    young_s: int = Field(default=604_800, ge=0, description="An unreviewed author known for less than this is young.")
    learn_anonymous: bool = Field(default=False, description="Learn from exchanges without an author, under one cap.")
    author_per_day: int = Field(default=20, ge=1, description="Samples of one author drawn in a day.")
    conversation_per_day: int = Field(default=10, ge=1, description="Samples of one conversation drawn in a day.")
    total_per_day: int = Field(default=1_000, ge=1, description="Samples drawn in a day.")
    held_s: int = Field(default=1_209_600, ge=60, description="After this, a held sample expires.")
    admitted_s: int = Field(default=2_592_000, ge=60, description="After this, an admitted sample expires.")
    quarantined_s: int = Field(default=2_592_000, ge=60, description="After this, an unreviewed sample expires.")
    exchange_s: int = Field(default=86_400, ge=60, description="How long feedback and appeals may name an exchange.")
    max_held: int = Field(default=100_000, ge=1, description="Held samples kept; the oldest expire beyond it.")
    max_quarantined: int = Field(
        default=20_000, ge=1, description="Samples kept in quarantine; the least risky expire beyond it."
    )
    feedback_per_day: int = Field(default=50, ge=1, description="Ratings of one author that count in a day.")
    interval_s: float = Field(default=30.0, gt=0, description="How often the learner looks for something to do.")
    batch: int = Field(default=256, ge=1, le=4_096, description="Samples in one update, at most.")


class PolicySettings(_Section):
    """The thresholds' file."""

    file: str = Field(
        default="policy.toml",
        description="Applied at the first start; later only by `policy apply`. Absent: the shipped one.",
    )


class LogSettings(_Section):
    """What is said on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )


class Settings(BaseSettings):
    """Every setting of one guard."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid", case_sensitive=False
    )

    bot: BotSettings = BotSettings()
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    scoring: ScoringSettings = ScoringSettings()
    limits: LimitsSettings = LimitsSettings()
    learning: LearningSettings = LearningSettings()
    policy: PolicySettings = PolicySettings()
    log: LogSettings = LogSettings()
    relay: dict[RouteName, RelaySettings] = {}

    @model_validator(mode="after")
    def _relay_is_there(self) -> Self:
        name = self.upstream.dialect.partition("relay:")[2]
        if name and name not in self.relay:
            raise ValueError(f"upstream.dialect names the relay {name}: add [relay.{name}]")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the environment before the file: it wins."""
        return env_settings, init_settings


def known_names() -> list[str]:
    """Return the dotted name of every setting.

    >>> known_names()[:3]
    ['bot.id', 'bot.encoder', 'bot.max_rows']
    """
    return [f"{section}.{name}" for section, name, _ in _fields()]


def load(config: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of ``config`` (or ``tayguard.toml`` where there is one) and the environment.

    Raises
    ------
    ConfigurationError
        For an unknown name or a value out of range; the command line prints its one line.
    """
    variables = os.environ if environ is None else environ
    values = _file_values(_config_path(config, variables))
    _refuse_unknown_variables(variables)
    try:
        settings = Settings(**values)
    except (ValidationError, SettingsError) as exc:
        raise ConfigurationError(_one_line(exc)) from exc
    folder = Path(variables.get(DATA_DIR_VARIABLE) or settings.store.data_dir).expanduser().absolute()
    return settings.model_copy(update={"store": settings.store.model_copy(update={"data_dir": folder})})


def from_json(text: str) -> Settings:
    """Return the settings that a parent process handed down as JSON; the environment is not read again."""
    sections = _sections()
    given = json.loads(text)
    relays = {name: RelaySettings.model_validate(relay) for name, relay in given.pop("relay", {}).items()}
    values: dict[str, Any] = {name: sections[name].model_validate(value) for name, value in given.items()}
    values["relay"] = relays
    return Settings.model_construct(None, **values)


def _sections() -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for name, field in Settings.model_fields.items():
        if name == "relay":
            continue  # a table of tables, under names of its operator's choice
        if not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            raise TypeError(f"section {name} is not a model")
        found[name] = field.annotation
    return found


def _fields() -> Iterator[tuple[str, str, Any]]:
    for section, model in _sections().items():
        for name, field in model.model_fields.items():
            yield section, name, field


def _config_path(config: Path | None, variables: Mapping[str, str]) -> Path | None:
    given = config or (Path(variables[CONFIG_VARIABLE]) if variables.get(CONFIG_VARIABLE) else None)
    if given is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    if not given.is_file():
        raise ConfigurationError(f"there is no settings file {given}: name another with --config, or leave it out")
    return given


def _file_values(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path} is not valid TOML: {exc}") from exc
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    known = known_names()
    sections = sorted({name.partition(".")[0] for name in known})
    for section, content in values.items():
        if section == "relay":
            _check_relays(path, content)
            continue
        if section not in sections or not isinstance(content, dict):
            raise ConfigurationError(f"{path}: unknown section [{section}]{_nearest(section, sections)}")
        for name in content:
            if f"{section}.{name}" not in known:
                raise ConfigurationError(
                    f"{path}: unknown setting {section}.{name}{_nearest(f'{section}.{name}', known)}"
                )
    return values


def _check_relays(path: Path, content: object) -> None:
    fields = list(RelaySettings.model_fields)
    if not isinstance(content, dict) or not all(isinstance(relay, dict) for relay in content.values()):
        raise ConfigurationError(f"{path}: a relay is a section with a name, as in [relay.NAME]")
    for name, relay in content.items():
        for setting in relay:
            if setting not in fields:
                raise ConfigurationError(f"{path}: unknown setting relay.{name}.{setting}{_nearest(setting, fields)}")


def _refuse_unknown_variables(variables: Mapping[str, str]) -> None:
    known = [PREFIX + name.replace(".", "__").upper() for name in known_names()]
    known += [DATA_DIR_VARIABLE, CONFIG_VARIABLE]
    for name in sorted(variables):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise ConfigurationError(f"unknown environment variable {name}{_nearest(name.upper(), known)}")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"; did you mean {close[0]}?" if close else ""


def _one_line(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if isinstance(first["input"], dict | BaseModel):
        return f"setting {where}: {first['msg']}".replace("setting :", "settings:")
    return f"setting {where} is {first['input']!r}: {first['msg'].lower()}"


def markdown_table() -> str:
    """Return the README's table: one row per setting with its default and what it does."""
    rows = ["| setting | default | what it does |", "| --- | --- | --- |"]
    for section, name, field in _fields():
        default = field.get_default(call_default_factory=True)
        shown = list(default) if isinstance(default, tuple) else default
        text = str(shown) if isinstance(shown, Path) else shown
        value = str(text).lower() if isinstance(text, bool) else repr(text).replace("'", '"')
        rows.append(f"| `{section}.{name}` | `{value}` | {field.description} |")
    for name, field in RelaySettings.model_fields.items():
        value = "required" if field.is_required() else f"`{field.default!r}`".replace("'", '"').replace("()", "[]")
        rows.append(f"| `relay.NAME.{name}` | {value} | {field.description} |")
    return "\n".join(rows) + "\n"


def write_into(readme: Path, marker: str, text: str) -> bool:
    """Put ``text`` between ``<!-- marker:begin -->`` and ``<!-- marker:end -->``; return whether the file changed."""
    before = readme.read_text("utf-8")
    begin, end = f"<!-- {marker}:begin -->\n", f"<!-- {marker}:end -->"
    if begin not in before or end not in before:
        raise ConfigurationError(f"{readme} lacks the markers {begin.strip()} and {end}")
    head, _, rest = before.partition(begin)
    after = head + begin + text + end + rest.partition(end)[2]
    readme.write_text(after, "utf-8")
    return after != before


def main(arguments: list[str]) -> int:
    """Print the table, or fill it into the README that is named."""
    if arguments:
        write_into(Path(arguments[0]), "settings", markdown_table())
    else:
        sys.stdout.write(markdown_table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
