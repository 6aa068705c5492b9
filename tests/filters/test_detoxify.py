"""DetoxifyFilter on a tiny checkpoint of the real format: read safely, scored whole, its label set as it is."""

import hashlib
import json
import pickle  # noqa: TID251  (to show that it is never run)

import pytest

from filters.errors import WeightsError
from filters.types import Item
from tests.filters.contract import FilterContract

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
detoxify = pytest.importorskip("filters.detoxify")

SIX = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
SEVEN = ["toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit"]
WORDS = ["how", "are", "you", "today", "i", "like", "gardens", "the", "sea", "lorem", "ipsum", "x", "##x", "!", "."]


def write_checkpoint(folder, classes, model_name="BertForSequenceClassification"):
    """Write a checkpoint as detoxify publishes them, with the configuration and tokenizer beside it."""
    torch.manual_seed(0)
    kind = model_name.removesuffix("ForSequenceClassification")
    config = getattr(transformers, f"{kind}Config" if hasattr(transformers, f"{kind}Config") else "BertConfig")(
        vocab_size=5 + len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        pad_token_id=0,
        max_position_embeddings=514,
        num_labels=len(classes),
    )
    config.save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = {"tokenizer_class": "BertTokenizer", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    arch = {
        "model_type": "bert-base-uncased",
        "num_classes": len(classes),
        "model_name": model_name,
        "tokenizer_name": "BertTokenizer",
    }
    whole = {
        "config": {"arch": {"type": "BERT", "args": arch}, "dataset": {"args": {"classes": classes}}},
        "state_dict": model.state_dict(),
    }
    path = folder / "tiny.ckpt"
    torch.save(whole, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def make(folder, classes):
    path, sha256 = write_checkpoint(folder, classes)
    return detoxify.DetoxifyFilter("", checkpoint=path, sha256=sha256, config_folder=folder)


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    return make(tmp_path_factory.mktemp("six"), SIX)


class TestDetoxifyFilter(FilterContract):
    @pytest.fixture
    def scorer(self, six):
        return six


def test_label_names_are_detoxifys_for_six_and_seven(six, tmp_path):
    assert set(six.labels) == set(SEVEN) - {"sexual_explicit"}
    assert make(tmp_path, SEVEN).labels == tuple(SEVEN)


def test_the_scores_are_detoxifys_own(six):
    (scores,) = six.score_many([Item("how are you today")])
    assert scores.values["toxicity"] == pytest.approx(six._model.predict("how are you today")["toxicity"], abs=1e-6)


def test_a_text_over_512_tokens_is_scored_to_its_end_in_windows_that_are_not_cut(six):
    text = "how are you today . " * 150 + "lorem ipsum"
    windows = six._windows(text)
    assert "".join(window.text for window in windows) == text
    assert max(six.count_tokens(window.text) for window in windows) <= detoxify.MAX_TOKENS
    (scores,) = six.score_many([Item(text)])
    assert scores.coverage == 1.0
    assert max(span.end for span in scores.spans) == len(text)


def test_a_wrong_hash_is_refused_before_anything_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    path = tmp_path / "trap.ckpt"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WeightsError, match="sha256"):
        detoxify.DetoxifyFilter("", checkpoint=path, sha256="0" * 64)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(WeightsError, match="not a detoxify checkpoint"):
        detoxify.DetoxifyFilter("", checkpoint=path, sha256=right)
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_cannot_choose_what_is_called(tmp_path):
    path, sha256 = write_checkpoint(tmp_path, SIX, "AutoModelForCausalLM")
    with pytest.raises(WeightsError, match="model_name"):
        detoxify.DetoxifyFilter("", checkpoint=path, sha256=sha256, config_folder=tmp_path)


def test_a_named_model_is_checked_against_its_published_hash(tmp_path):
    path, _ = write_checkpoint(tmp_path, SIX)
    with pytest.raises(WeightsError, match="c1212f89"):
        detoxify.DetoxifyFilter("original", checkpoint=path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model": "orginal"}, "original"),
        ({"model": ""}, "sha256"),
        ({"model": "", "sha256": "0" * 64}, "checkpoint"),
    ],
)
def test_what_is_missing_is_named(arguments, said):
    with pytest.raises(WeightsError, match=said):
        detoxify.DetoxifyFilter(**arguments)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="missing"):
        detoxify.DetoxifyFilter("", checkpoint=tmp_path / "none.ckpt", sha256="0" * 64)


def test_the_five_models_are_detoxifys():
    from detoxify.detoxify import MODEL_URLS

    assert set(detoxify.MODELS) == set(MODEL_URLS)
    assert all(MODEL_URLS[name].endswith(f"-{digits}.ckpt") for name, digits in detoxify.MODELS.items())
