"""The stages of the encoder's graph, with the shipped weights and other exits: who is settled where, and with what."""

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from filters.encoder import OnnxEncoder
from filters.models import graph, source
from filters.models.build import TRAINED, unpacked
from filters.models.source import ENCODER, FOLDER
from tests.hostile import ABUSIVE_LINES, SMALL_TALK

SOME = [stage for stage in graph.STAGES if stage != "heads"]
NONE, ALL = np.full(6, -np.inf, np.float32), np.full(6, np.inf, np.float32)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return what builds an encoder with the exits asked, the others as shipped."""
    weights = {**load_file(source.find() / "model.safetensors"), **unpacked(load_file(FOLDER / TRAINED))}
    stated = onnx.load(FOLDER / ENCODER).metadata_props
    metadata = {entry.key: entry.value for entry in stated}

    def build(**exits):
        folder = tmp_path_factory.mktemp("encoder")
        changed = {f"{stage}.exit": logits for stage, logits in exits.items()}
        (folder / ENCODER).write_bytes(graph.build({**weights, **changed}, metadata))
        return OnnxEncoder(folder)

    return build


@pytest.fixture(scope="module")
def stages(built):
    """Return three encoders, each of which settles every unit at one stage."""
    settled = {"glance": {"glance": ALL}, "early": {"glance": NONE, "early": ALL}, "heads": dict.fromkeys(SOME, NONE)}
    return {stage: built(**exits) for stage, exits in settled.items()}


def _units(encoder, *texts):
    return [encoder.tokens(text).ids for text in texts]


def test_each_stage_gives_logits_of_its_own_and_only_the_last_has_embeddings(stages):
    rude = _units(stages["heads"], ABUSIVE_LINES[0])
    passed = {name: encoder.run(rude, embed=False) for name, encoder in stages.items()}
    assert len({one.logits.tobytes() for one in passed.values()}) == len(stages)
    assert [bool(one.embedding.any()) for one in passed.values()] == [False, False, True]
    assert all(one.logits[0, 0] > 0 for one in passed.values())  # measured: 1.9, 2.4, 3.4


def test_logits_do_not_depend_on_the_embedding(stages):
    for encoder in stages.values():
        units = _units(encoder, SMALL_TALK[0], ABUSIVE_LINES[0])
        assert (encoder.run(units, embed=True).logits == encoder.run(units, embed=False).logits).all()
        assert encoder.run(units, embed=True).embedding.any()


def test_a_settled_unit_keeps_its_logits_where_another_goes_on(stages):
    shipped = OnnxEncoder()
    calm, rude = _units(shipped, SMALL_TALK[0], ABUSIVE_LINES[0])
    assert not shipped.run([calm], embed=False).embedding.any()
    both = shipped.run([calm, rude], embed=False).logits
    settled = [encoder.run([calm, rude], embed=False).logits for name, encoder in stages.items() if name in SOME]
    assert min(np.abs(both[0] - one[0]).max() for one in settled) <= 1e-5
    assert np.abs(both[1] - stages["heads"].run([calm, rude]).logits[1]).max() <= 1e-5


@pytest.mark.parametrize("open_", range(6))
def test_one_label_over_its_exit_sends_a_unit_on(built, stages, open_):
    exits = ALL.copy()
    exits[open_] = -np.inf
    encoder = built(glance=exits, early=NONE)
    calm = _units(encoder, SMALL_TALK[0])
    assert (encoder.run(calm, embed=False).logits == stages["heads"].run(calm, embed=False).logits).all()
