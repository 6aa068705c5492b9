"""Time the built encoder against the original in torch, one thread each: ``python -m bench.encoder``; prints JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import transformers

from filters.encoder import CLS, SEP, OnnxEncoder
from filters.models import source

RUNS = 100


def median_ms(call: Callable[[], object]) -> float:
    """Return the median milliseconds of a call."""
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return round(1e3 * float(np.median(taken)), 2)


def main() -> None:
    torch.set_num_threads(1)
    encoder = OnnxEncoder()
    model = transformers.BertModel.from_pretrained(source.find())
    model.train(mode=False)
    figures = {}
    words = encoder.tokens("garden " * 126).ids
    for tokens in (10, 24, 64, 128):
        ids = words[: tokens - 2]
        row = torch.tensor([[CLS, *ids, SEP]])
        with torch.inference_mode():
            figures[f"torch_fp32_p50_ms_{tokens}_tokens"] = median_ms(partial(model, row))
        figures[f"settled_early_p50_ms_{tokens}_tokens"] = median_ms(partial(encoder.run, [ids], embed=False))
        figures[f"all_layers_p50_ms_{tokens}_tokens"] = median_ms(partial(encoder.run, [ids], embed=True))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
