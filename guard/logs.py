"""JSON lines on stderr: one canonical event per message, never its text, and no line that a text could forge."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

MESSAGES = logging.getLogger("tayguard.messages")
"""One event per message."""


class JsonLines(logging.Formatter):
    """Format a record as one line of JSON; control characters and line breaks stay inside its strings."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, ASCII only, without its line break."""
        fields: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        extra = getattr(record, "fields", None)
        if isinstance(extra, Mapping):
            fields.update({key: value for key, value in extra.items() if key not in fields})
        if record.exc_info and record.exc_info[0] is not None:
            # The exception's own words may quote a text, so only its name and where it came from are kept.
            fields["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            fields["where"] = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(fields, ensure_ascii=True, default=str)


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every logger of this process to ``stream`` (stderr) as JSON lines; uvicorn's access log stays off."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = name != "uvicorn.access"
    logging.getLogger("httpx").setLevel(logging.WARNING)


def message_event(fields: Mapping[str, Any]) -> None:
    """Log the canonical event of one message."""
    MESSAGES.info("message", extra={"fields": dict(fields)})
