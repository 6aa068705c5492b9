"""What a client may say that nobody scores: names of models, ids and parameters."""

import json

import pytest

from guard.auth import Identity
from guard.dialects.openai_chat import Limits, parse, parse_json
from guard.errors import BadRequestError

SENTENCE = "you are all idiots"


def parsed(**body):
    body = {"model": "tay", "messages": [{"role": "user", "content": "hello"}], **body}
    return parse(parse_json(json.dumps(body).encode(), Limits()), {}, Identity("k", frozenset()), Limits())


@pytest.mark.parametrize("model", [SENTENCE, "модель", "a\r\nSet-Cookie: x=y", "a" * 201, "a\n"])
def test_a_model_that_is_not_a_models_name_is_refused(model):
    with pytest.raises(BadRequestError, match="`model`"):
        parsed(model=model)


@pytest.mark.parametrize("model", ["", "gpt-4.1", "meta-llama/Llama-3.2-1B@main", "ollama:phi3:mini", "a+b_c"])
def test_models_names_as_they_are_in_use_are_taken(model):
    assert parsed(model=model).model == model


WRONG = {
    "temperature": [SENTENCE, True, [1]],
    "top_p": [{}],
    "presence_penalty": [SENTENCE],
    "frequency_penalty": [SENTENCE],
    "max_tokens": [1.5, SENTENCE],
    "max_completion_tokens": [SENTENCE],
    "seed": [SENTENCE, 2**70, True],
    "parallel_tool_calls": [SENTENCE],
    "reasoning_effort": [SENTENCE, ["low"]],
    "verbosity": [SENTENCE],
    "logit_bias": [{SENTENCE: 1}, {"5": SENTENCE}],
    "stop": [5, ["a", 5]],
    "tools": [SENTENCE, [SENTENCE]],
    "tool_choice": [SENTENCE, 5],
    "response_format": [SENTENCE],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_parameter_that_is_not_what_it_may_be_is_refused_by_name(name, value):
    with pytest.raises(BadRequestError, match=f"`{name}`"):
        parsed(**{name: value})


def test_parameters_as_they_should_be_are_passed_on():
    options = {
        "temperature": 0, "top_p": 0.5, "max_tokens": 5, "seed": -1, "parallel_tool_calls": False,
        "reasoning_effort": "low", "verbosity": "high", "logit_bias": {"50256": -100}, "stop": ["\n"],
        "tools": [{"type": "function"}], "tool_choice": "auto", "response_format": {"type": "text"},
    }  # fmt: skip
    assert dict(parsed(**options, made_up=SENTENCE).options) == options


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_number_that_is_none_is_not_json(number):
    with pytest.raises(BadRequestError, match="JSON"):
        parse_json(b'{"temperature": %s}' % number.encode(), Limits())


def test_ids_of_tool_calls_become_numbers_that_still_fit_each_other():
    call = {"id": SENTENCE, "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "tool_calls": [call, {**call, "id": "b"}]},
        {"role": "tool", "tool_call_id": "b", "content": "fine"},
        {"role": "tool", "tool_call_id": SENTENCE, "content": "fine"},
        {"role": "tool", "tool_call_id": "idiot", "content": "fine"},
    ]
    raw = [message.raw for message in parsed(messages=messages).messages]
    assert [one["id"] for one in raw[0]["tool_calls"]] == ["call00000", "call00001"]
    assert [one["tool_call_id"] for one in raw[1:]] == ["call00001", "call00000", "call00002"]


def test_an_id_that_is_no_text_is_refused():
    with pytest.raises(BadRequestError, match="id"):
        parsed(messages=[{"role": "tool", "tool_call_id": 5, "content": "fine"}])
