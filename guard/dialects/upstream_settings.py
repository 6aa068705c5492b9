"""``[upstream]``: the chatbot that answers, and what it speaks."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

RouteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class UpstreamSettings(BaseModel):
    """The chatbot that answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(default="", description="Base URL of an OpenAI-compatible server; empty: the embedded bot.")
    key_env: str = Field(default="", description="Name of the environment variable that holds the upstream's key.")
    dialect: str = Field(
        default="openai",
        pattern=r"^(openai|rasa|relay:[A-Za-z0-9][A-Za-z0-9_.-]{0,63})$",
        description="What the upstream speaks: `openai`, `rasa`, or `relay:NAME` (the address is then the relay's).",
    )
    model: str = Field(default="", description="Model asked of the upstream; empty: the one the client names.")
    routes: dict[RouteName, str] = Field(
        default={},
        description="Table of a name to a model at the upstream, what is live first, then the earlier ones; `tayguard "
        "rollback NAME` switches. A client's `model` then chooses nothing.",
    )
    timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="How long the upstream may take until its answer begins."
    )
    answer_s: float = Field(
        default=120.0, gt=0, le=3600, description="How long an answer may take in all, streamed or not."
    )
    idle_s: float = Field(default=20.0, gt=0, le=3600, description="How long the upstream may be silent in mid-stream.")
    max_concurrent: int = Field(default=32, ge=1, le=4096, description="Requests at the upstream at once, per worker.")

    @property
    def external(self) -> bool:
        """Whether another program answers: not the embedded bot."""
        return bool(self.url) or self.dialect != "openai"

    @model_validator(mode="after")
    def _routes_can_be_told_apart(self) -> Self:
        models = list(self.routes.values())
        if {"previous", "factory"} & set(self.routes) or "" in models or len(set(models)) < len(models):
            raise ValueError("give each route its own model, and no route the name previous or factory")
        if self.dialect == "rasa" and not self.url:
            raise ValueError("dialect rasa needs upstream.url")
        if self.dialect.startswith("relay:") and (self.url or self.key_env):
            raise ValueError("url and key_env are those of the relay: leave upstream.url and upstream.key_env empty")
        if self.dialect != "openai" and (self.model or self.routes):
            raise ValueError("only the dialect openai has a model and routes")
        if self.routes and (self.model or not self.url):
            raise ValueError("routes need upstream.url, and upstream.model left empty")
        return self
