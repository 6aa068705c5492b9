"""comments:analyze with Google's own client, which builds its methods from a discovery document."""

import json

import pytest
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError

from learner.store import Keys
from tests.checking import checking


def document(url):
    """Return the part of a discovery document that the client reads, for a service at ``url``."""
    body = {"type": "object", "additionalProperties": {"type": "any"}}
    return {
        "kind": "discovery#restDescription",
        "name": "commentanalyzer",
        "version": "v1alpha1",
        "rootUrl": f"{url}/",
        "servicePath": "",
        "batchPath": "batch",
        "parameters": {"key": {"type": "string", "location": "query"}},
        "schemas": {name: {"id": name, **body} for name in ("AnalyzeCommentRequest", "AnalyzeCommentResponse")},
        "resources": {
            "comments": {
                "methods": {
                    "analyze": {
                        "id": "commentanalyzer.comments.analyze",
                        "path": "v1alpha1/comments:analyze",
                        "flatPath": "v1alpha1/comments:analyze",
                        "httpMethod": "POST",
                        "parameters": {},
                        "request": {"$ref": "AnalyzeCommentRequest"},
                        "response": {"$ref": "AnalyzeCommentResponse"},
                    }
                }
            }
        },
    }


@pytest.fixture(scope="module")
def guard(redis_url):
    with checking(redis_url, Keys("bot-google")) as running:
        yield running


@pytest.fixture
def client(guard):
    with build_from_document(document(guard.url), developerKey=guard.secret) as service:
        yield service


def test_a_comment_is_analysed(client):
    asked = {
        "comment": {"text": "A mild insult."},
        "requestedAttributes": {"TOXICITY": {}, "INSULT": {"scoreThreshold": 0.5}},
        "languages": ["en"],
        "spanAnnotations": True,
    }
    found = client.comments().analyze(body=asked).execute()
    assert found["attributeScores"]["INSULT"]["summaryScore"] == {"value": 0.6, "type": "PROBABILITY"}
    assert found["attributeScores"]["TOXICITY"]["summaryScore"]["value"] == 0.02
    assert found["languages"] == ["en"]


def test_an_error_is_the_clients_own(client, guard):
    with pytest.raises(HttpError) as caught:
        client.comments().analyze(body={"comment": {"text": ""}, "requestedAttributes": {"TOXICITY": {}}}).execute()
    assert caught.value.status_code == 400
    assert json.loads(caught.value.content)["error"]["details"][0]["errorType"] == "COMMENT_EMPTY"
    assert caught.value.reason
    with (
        build_from_document(document(guard.url), developerKey="tg_wrong") as other,
        pytest.raises(HttpError) as refused,
    ):
        other.comments().analyze(body={"comment": {"text": "hi"}, "requestedAttributes": {"TOXICITY": {}}}).execute()
    assert refused.value.status_code == 401
