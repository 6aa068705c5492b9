"""Read a policy's file: every key known, every value possible, or a :class:`PolicyError` that says what it may be."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from filters.errors import PolicyError

DIRECTIONS = ("in", "out")
OUTCOMES = ("flag", "replace", "block", "quarantine", "reject")
MESSAGES = ("blocked", "unscored", "stopped", "unavailable", "replaced")
KEYS = ("mode", "thresholds", "on_unscored", "on_store_down", "messages")
MODES = ("enforce", "shadow")
MILDER = (("flag", "replace"), ("flag", "block"), ("replace", "block"), ("quarantine", "reject"))
LONGEST_MESSAGE = 2_000  # characters
LONGEST_FILE = 262_144  # characters


def parse(text: str, form: Literal["toml", "json"]) -> dict[str, Any]:
    """Return the checked fields of a policy.

    Raises
    ------
    PolicyError
        The message names the key and what it may be.
    """
    if len(text) > LONGEST_FILE:
        raise PolicyError(f"the policy has {len(text)} characters, at most {LONGEST_FILE} are read")
    try:
        whole = tomllib.loads(text) if form == "toml" else json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise PolicyError(f"the policy is not valid {form.upper()}: {exc}") from exc
    fields = _table(whole, "the policy")
    _known(fields, KEYS, "")
    if "thresholds" not in fields:
        raise PolicyError("thresholds is missing: name labels under [thresholds.in] and [thresholds.out]")
    return {
        "mode": _choice(fields.get("mode", "enforce"), MODES, "mode"),
        "thresholds": _thresholds(fields["thresholds"]),
        "on_unscored": _on_unscored(fields.get("on_unscored", {})),
        "on_store_down": _choice(fields.get("on_store_down", "fixed"), ("fixed", "serve"), "on_store_down"),
        "messages": _messages(fields.get("messages", {})),
    }


def _table(value: object, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PolicyError(f"{key} must be a table, not {value!r:.80}")
    return value


def _known(table: Mapping[str, Any], known: Iterable[str], path: str) -> None:
    names = list(known)
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)
            raise PolicyError(f"unknown key {path}{key!r:.80}; did you mean {near[0]!r}? known: {', '.join(names)}")


def _choice(value: object, choices: tuple[str, ...], key: str) -> str:
    if not isinstance(value, str) or value not in choices:
        raise PolicyError(f"{key} must be one of {', '.join(choices)}, not {value!r:.80}")
    return value


def _on_unscored(value: object) -> dict[str, dict[str, str]]:
    """Return direction to label to what is done; under the empty label, what is done with all others."""
    table = _table(value, "on_unscored")
    _known(table, DIRECTIONS, "on_unscored.")
    return {direction: _on_labels(table.get(direction, "block"), direction) for direction in DIRECTIONS}


def _on_labels(value: object, direction: str) -> dict[str, str]:
    named = {"default": value} if isinstance(value, str) else _table(value, f"on_unscored.{direction}")
    chosen = {
        label: _choice(action, ("block", "allow"), f"on_unscored.{direction}" + f".{label}" * (named is value))
        for label, action in named.items()
    }
    return {"": chosen.pop("default", "block"), **chosen}


def _thresholds(value: object) -> dict[str, dict[str, dict[str, float]]]:
    table = _table(value, "thresholds")
    _known(table, DIRECTIONS, "thresholds.")
    return {
        direction: {
            label: _limits(limits, f"thresholds.{direction}.{label}")
            for label, limits in _table(labels, f"thresholds.{direction}").items()
        }
        for direction, labels in table.items()
    }


def _limits(value: object, path: str) -> dict[str, float]:
    table = _table(value, path)
    _known(table, OUTCOMES, f"{path}.")
    for outcome, threshold in table.items():
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0.0 <= threshold <= 1.0:
            raise PolicyError(f"{path}.{outcome} must be a number from 0 to 1, not {threshold!r:.80}")
    for milder, severer in MILDER:
        if milder in table and severer in table and table[milder] > table[severer]:
            raise PolicyError(f"{path}.{milder} is above {path}.{severer}; it must not be")
    return {outcome: float(threshold) for outcome, threshold in table.items()}


def _messages(value: object) -> dict[str, dict[str, str]]:
    table = _table(value, "messages")
    _known(table, MESSAGES, "messages.")
    found = {kind: {"en": text} for kind, text in DEFAULT_MESSAGES.items()}
    for kind, texts in table.items():
        found.setdefault(kind, {"en": REPLACED})
        for language, text in _table(texts, f"messages.{kind}").items():
            if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_MESSAGE:
                raise PolicyError(f"messages.{kind}.{language} must be a text of 1 to {LONGEST_MESSAGE} characters")
            found[kind][language] = text
    return found


REPLACED = "[removed]"
"""Stands for what was replaced; in a policy only where one names another, so that those of before keep their ids."""

DEFAULT_MESSAGES = {
    "blocked": "I'd rather not go on with that. Shall we talk about something else?",
    "unscored": "I could not check that message, so I can't answer it. Please try again, or say it in another way.",
    "stopped": "I'm taking a break right now. Please come back later.",
    "unavailable": "I can't answer just now. Please try again in a moment.",
}
