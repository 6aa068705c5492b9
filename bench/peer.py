"""detoxify's own architecture and its own `predict`, without its weights, which nobody has to download to time it.

bert-base-uncased's shape with random weights, torch fp32; the tokenizer has the same vocabulary. What a pass costs does
not depend on the weights' values. Not a figure by itself.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Bounds that would keep torch from choosing its threads itself."""

CUT = 512  # tokens: detoxify reads no further
BATCHES = (1, 4, 8, 16, 32)
TRIED = 160  # texts that choose the batch size


def unbound(module: str) -> None:
    """Start this bench again without bounds on threads, where there are any: torch reads them when it is loaded."""
    if any(name in os.environ for name in THREADS):
        environ = {name: value for name, value in os.environ.items() if name not in THREADS}
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], environ)


class Peer:
    """What answers a text as detoxify's `original` model does, in as much time."""

    def __init__(self) -> None:
        import torch
        import transformers
        from detoxify import Detoxify

        from filters.models import source

        torch.manual_seed(0)
        config = transformers.BertConfig(num_labels=6)  # its defaults are bert-base-uncased's
        whole = Detoxify.__new__(Detoxify)  # its constructor downloads
        whole.model = transformers.BertForSequenceClassification(config).eval()
        whole.tokenizer = transformers.BertTokenizerFast.from_pretrained(source.find(), local_files_only=True)
        whole.tokenizer.model_max_length = CUT
        whole.class_names = ["toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack"]
        whole.device = "cpu"
        self._whole = whole
        self.threads = torch.get_num_threads()
        self.parameters = sum(one.numel() for one in whole.model.parameters())

    def one(self, text: str) -> None:
        """Score one text."""
        self._whole.predict(text)

    def tokens(self, text: str) -> int:
        """Return how many tokens it reads of a text, special ones too."""
        return len(self._whole.tokenizer(text, truncation=True).input_ids)

    def rate(self, texts: Sequence[str], batch: int) -> float:
        """Return texts a second in batches as given, padded to the longest as `predict` pads."""
        began = time.perf_counter()
        for at in range(0, len(texts), batch):
            self._whole.predict(list(texts[at : at + batch]))
        return len(texts) / (time.perf_counter() - began)

    def best_batch(self, texts: Sequence[str]) -> tuple[int, dict[str, float]]:
        """Return the quickest batch size over the first texts, and what each gave."""
        rates = {batch: self.rate(texts[:TRIED], batch) for batch in BATCHES}
        best = max(rates, key=lambda batch: rates[batch])
        return best, {str(batch): round(rate, 3) for batch, rate in rates.items()}
