"""Perspective's ``comments:analyze``: a comment in, a score per requested attribute out, errors in Google's form.

A score that is left out means "below your `scoreThreshold`" to a Perspective client. A text that was not scored in full
is therefore never an answer: it is the error 503 `UNAVAILABLE` with `errorType` `UNSCORED`, whatever the policy says of
unscored texts, since a policy decides and does not make scores.

`doNotStore` is always so. `communityId` is taken and means nothing here. A request that names only languages that the
filters were not trained for is refused, and so is a comment in such a language where the request names none;
`detectedLanguages` says which it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from filters.language import OTHER
from filters.merge import over_filters
from filters.types import Span
from guard.auth import Identity
from guard.checking import Checked, Group
from guard.dialects.openai_chat import Limits
from guard.dialects.types import Chat, Message
from guard.errors import BadRequestError, BusyError
from guard.turns import ScoredText

T = TypeVar("T")

ATTRIBUTES = {
    "TOXICITY": "toxicity",
    "SEVERE_TOXICITY": "severe_toxicity",
    "IDENTITY_ATTACK": "identity_attack",
    "INSULT": "insult",
    "PROFANITY": "obscene",
    "THREAT": "threat",
}
LANGUAGES = ("en",)
"""What the shipped filters were trained for."""

FOREIGN = 0.9
"""How sure the detector must be of a language before a comment counts as being in it."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """One request: the comment as a chat of one message, and which attributes are wanted from which score on.

    ``languages`` are those that it may be in, ``named`` where the client said so.
    """

    chat: Chat
    prompt: str | None
    thresholds: Mapping[str, float]
    spans: bool
    languages: tuple[str, ...]
    client_token: str
    named: bool = False

    @property
    def group(self) -> Group:
        """The comment as it is judged."""
        return Group((ScoredText(self.chat.messages[0].text, (0,)),), "in", self.prompt)


def parse(
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    identity: Identity,
    limits: Limits,
    trained: Sequence[str] = LANGUAGES,
) -> Analysis:
    """Return the analysis that is asked for, or raise :class:`BadRequestError` naming the field.

    ``trained`` are the languages that the filters were trained for.
    """
    languages = _typed(body, "languages", list, [])
    text = _text(body.get("comment"), "comment", limits)
    if not text:
        raise BadRequestError("the comment must not be empty", code="COMMENT_EMPTY", param="comment.text")
    session = _typed(body, "sessionId", str, "")
    _typed(body, "doNotStore", bool, default=False)
    _typed(body, "communityId", str, "")
    chat = Chat(
        identity=identity,
        model="",
        messages=(Message("user", text),),
        author=headers.get("x-tayguard-author", "") if identity.asserts_author else "",
        conversation=headers.get("x-tayguard-conversation", "") or session,
    )
    return Analysis(
        chat=chat,
        prompt=_prompt(_typed(body, "context", dict, {}), limits),
        thresholds=_thresholds(body.get("requestedAttributes")),
        spans=_typed(body, "spanAnnotations", bool, default=False),
        languages=_languages(languages, trained),
        client_token=_typed(body, "clientToken", str, ""),
        named=bool(languages),
    )


def _typed(body: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise BadRequestError(f"`{name}` must be of type {kind.__name__}", param=name)
    return value


def _text(entry: object, where: str, limits: Limits) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("text") or "", str):
        raise BadRequestError(f"`{where}` must be an object with a `text`", param=where)
    if entry.get("type") not in (None, "PLAIN_TEXT", "TEXT_TYPE_UNSPECIFIED"):
        raise BadRequestError(f"`{where}.type` may only be PLAIN_TEXT", param=f"{where}.type")
    text: str = entry.get("text") or ""
    if len(text) > limits.max_text_chars:
        raise BadRequestError(
            f"`{where}.text` may have {limits.max_text_chars} characters", code="COMMENT_TOO_LONG", param=where
        )
    return text


def _prompt(context: Mapping[str, Any], limits: Limits) -> str | None:
    """Return the text that the comment answers: the context's entries, or the comment above it."""
    entries = _typed(context, "entries", list, [])
    above = _typed(context, "articleAndParentComment", dict, {})
    if entries and above:
        raise BadRequestError("`context` may have `entries` or `articleAndParentComment`, not both", param="context")
    parent = above.get("parentComment") or above.get("article")
    texts = [_text(entry, "context", limits) for entry in (entries or ([parent] if parent else []))]
    if sum(map(len, texts)) > limits.max_text_chars:
        raise BadRequestError(f"`context` may have {limits.max_text_chars} characters in all", param="context")
    return "\n".join(texts) or None


def _thresholds(requested: object) -> dict[str, float]:
    where = "requestedAttributes"
    if not isinstance(requested, dict) or not requested:
        raise BadRequestError(f"`{where}` must name at least one of {', '.join(ATTRIBUTES)}", param=where)
    unknown = sorted(set(requested) - set(ATTRIBUTES))
    if unknown:
        raise BadRequestError(
            f"Unknown requested attribute: {unknown[0]!r:.80}; there are {', '.join(ATTRIBUTES)}",
            code="UNKNOWN_ATTRIBUTE",
            param=where,
        )
    return {name: _threshold(name, wanted) for name, wanted in requested.items()}


def _threshold(name: str, wanted: object) -> float:
    fields = {} if wanted is None else wanted
    if not isinstance(fields, dict):
        raise BadRequestError(f"`requestedAttributes.{name}` must be an object", param=f"requestedAttributes.{name}")
    if fields.get("scoreType") not in (None, "PROBABILITY", "SCORE_TYPE_UNSPECIFIED"):
        raise BadRequestError(f"the only score type of {name} is PROBABILITY", param=f"requestedAttributes.{name}")
    least = fields.get("scoreThreshold")
    if least is None:
        return 0.0
    if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:
        raise BadRequestError(f"the `scoreThreshold` of {name} must be in [0, 1]", param=f"requestedAttributes.{name}")
    return float(least)


def _languages(given: Sequence[object], trained: Sequence[str]) -> tuple[str, ...]:
    """Return the languages that a comment is scored in; a region says nothing here."""
    if not all(isinstance(one, str) for one in given):
        raise BadRequestError("`languages` must be a list of language codes", param="languages")
    codes = [str(one).partition("-")[0].lower() for one in given] or list(trained)
    known = tuple(dict.fromkeys(code for code in codes if code in trained))
    if not known:
        raise _not_supported(codes, trained)
    return known


def _not_supported(codes: Sequence[str], trained: Sequence[str]) -> BadRequestError:
    return BadRequestError(
        f"no attribute supports these languages: {', '.join(codes):.80}; there is {', '.join(trained)}",
        code="LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
        param="languages",
    )


def render(analysis: Analysis, checked: Checked) -> dict[str, Any]:
    """Return Perspective's answer; the verdict stands under ``tayguard``.

    Raises
    ------
    BusyError
        The text was not scored in full; the client may try again.
    BadRequestError
        No filter here scores an attribute, or was trained for the comment's language; the client may ask for others.
    """
    (judgement,) = checked.judgements
    unscored = [reason for reason in judgement.verdict.reasons if reason.score is None]
    if unscored:
        why = "; ".join(dict.fromkeys(f"{reason.label}: {reason.detail}" for reason in unscored))
        raise BusyError(f"the comment was not scored ({why:.300})", code="UNSCORED", retry_after="1")
    merged = over_filters({scores.filter: scores for scores in judgement.scores})
    foreign = merged.variants.get(OTHER, "") if merged.values.get(OTHER, 0.0) >= FOREIGN else ""
    if foreign and not analysis.named:
        raise _not_supported([foreign], analysis.languages)
    answer: dict[str, Any] = {"attributeScores": {}, "languages": list(analysis.languages)}
    if OTHER in merged.values and (foreign or len(analysis.languages) == 1):
        answer["detectedLanguages"] = [foreign or analysis.languages[0]]
    for name, least in analysis.thresholds.items():
        value = merged.values.get(ATTRIBUTES[name])
        if value is None:
            raise BadRequestError(f"no filter here scores {name}", code="UNKNOWN_ATTRIBUTE", param=name)
        if value >= least:
            spans = [span for span in merged.spans if span.label == ATTRIBUTES[name]] if analysis.spans else []
            answer["attributeScores"][name] = _attribute(analysis.chat.messages[0].text, value, spans)
    if analysis.client_token:
        answer["clientToken"] = analysis.client_token
    answer["tayguard"] = {
        "verdict": judgement.verdict.serve,
        "coverage": judgement.verdict.coverage,
        "policy": checked.policy.id,
        "policy_current": checked.current,
        "filters": dict(checked.filters),
    }
    return answer


def _attribute(text: str, value: float, spans: Sequence[Span]) -> dict[str, Any]:
    """Return one attribute's scores; where no spans were asked for, the one span is the whole comment, as ever."""
    worst: dict[tuple[int, int], float] = {}
    for span in spans or [Span(0, len(text), "", value)]:
        where = (_utf16(text, span.start), _utf16(text, span.end))
        worst[where] = max(span.score, worst.get(where, 0.0))
    scored = [{"begin": begin, "end": end, "score": _score(one)} for (begin, end), one in sorted(worst.items())]
    return {"spanScores": scored, "summaryScore": _score(value)}


def _score(value: float) -> dict[str, Any]:
    return {"value": value, "type": "PROBABILITY"}


def _utf16(text: str, position: int) -> int:
    """Return where a character stands in UTF-16 code units, in which Perspective counts.

    >>> _utf16("a😀b", 2)
    3
    """
    return len(text[:position].encode("utf-16-le", "surrogatepass")) // 2
