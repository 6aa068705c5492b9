"""Measure the built encoder against the original in fp32: ``python -m bench.encoder``; prints one JSON object."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
import torch
import transformers

from filters.encoder import OnnxEncoder
from filters.models import source

TEXTS = (
    "hello",
    "What do you like to do at the weekend, and who do you like to do it with?",
    "This topic covers the history of the county and its people, with dates.",
    "You are a kind and patient teacher. " * 4,
    "The garden behind the house was full of roses, and every morning a fox came by to look at them. " * 5,
)
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
    model.eval()
    cosines, figures = [], {}
    for text in TEXTS:
        ids = torch.tensor([[101, *encoder.token_ids(text), 102]])
        with torch.no_grad():
            mean = model(ids).last_hidden_state.mean(1)[0].numpy()
        cosines.append(float(encoder.embed_many([text])[0] @ mean / np.linalg.norm(mean)))
    words = encoder.token_ids("garden " * 126)
    for tokens in (20, 128):
        ids = words[: tokens - 2]
        row = torch.tensor([[101, *ids, 102]])
        with torch.inference_mode():
            figures[f"torch_fp32_p50_ms_{tokens}_tokens"] = median_ms(lambda row=row: model(row))
        figures[f"p50_ms_{tokens}_tokens"] = median_ms(lambda ids=ids: encoder.run(ids))
    print(json.dumps({"least_cosine": round(min(cosines), 5), **figures}, indent=2))


if __name__ == "__main__":
    main()
