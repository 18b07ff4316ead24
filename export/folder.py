"""Writes the folder of a bundle: files, model.json and their hashes. Knows nothing of how a graph is made."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from monitor.bundle import BundleSpec
from monitor.bundle_folder import MODEL_JSON, Bundle, canonical_sha256, load_bundle

SHIPPED_BYTES: Final = 40_000_000
"""Largest bundle that may be shipped: it lives in the repository and in every installation. A user's own may be
larger."""

_log = logging.getLogger(__name__)


def write_folder(*, spec: BundleSpec | Mapping[str, Any], files: Mapping[str, bytes], out: Path) -> Bundle:
    """Write a bundle and read it back.

    The same spec and files give the same bytes. The folder appears whole or not at all; an older one of the same
    path is replaced.

    Args:
        spec: Content of model.json; its `sha256` is computed here.
        files: Every other file by name.
        out: Folder to write.

    Returns:
        The bundle as `load_bundle` sees it.

    Raises:
        pydantic.ValidationError: If the spec is not valid.
        BundleError: If a file that the spec needs is not among `files`.
    """
    validated = spec if isinstance(spec, BundleSpec) else BundleSpec.model_validate(dict(spec))
    content = validated.model_dump(mode="json", exclude={"sha256"})
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    hashes[MODEL_JSON] = canonical_sha256(content)
    content["sha256"] = dict(sorted(hashes.items()))
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    total = sum(map(len, files.values())) + len(text.encode())
    if total > SHIPPED_BYTES:
        _log.warning("the bundle takes %.1f MB; one that is shipped may take %.0f", total / 1e6, SHIPPED_BYTES / 1e6)

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        (folder / MODEL_JSON).write_text(text, encoding="utf-8")
        load_bundle(folder)
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    return load_bundle(out)
