"""The process that looks into one artifact: FILE ROWS.npz OUT.npz."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Final

import numpy as np

from sprat.compiler.report.anatomy import MAX_BYTES
from sprat_device.contract import arrays

_MOST_VALUES: Final = 20_000
_MOST_TENSORS: Final = 60


def main(artifact: str, rows: str, out: str) -> None:
    """Write the values of one artifact, the largest tensors first and each thinned evenly."""
    path = Path(artifact)
    reader = importlib.import_module(f"sprat.compiler.report.anatomy.{path.suffix[1:]}")
    given = arrays.parse(Path(rows).read_bytes(), max_bytes=MAX_BYTES)
    found = [(name, values) for name, values in reader.tensors(path, given)
             if values.dtype.kind == "f" and values.size]  # fmt: skip
    kept = sorted(found, key=lambda pair: -pair[1].size)[:_MOST_TENSORS]
    thin = {name: values[:: -(-values.size // _MOST_VALUES)].astype(np.float32) for name, values in kept}
    Path(out).write_bytes(arrays.dump(thin))


if __name__ == "__main__":
    main(*sys.argv[1:])
