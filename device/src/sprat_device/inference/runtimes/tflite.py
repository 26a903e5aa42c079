"""tflite-runtime, the small interpreter of Raspberry Pi class boards; its last version was built against numpy 1."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from sprat_device.board import packages
from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.contract.errors import MachineLacks
from sprat_device.inference.runtimes import _interpreter
from sprat_device.inference.runtimes.raw import RawSession


def load(artifact: Path, settings: RuntimeSettings) -> RawSession:
    """Load one `.tflite` artifact."""
    return _interpreter.load(
        library(), artifact, settings, runtime="tflite", version=packages.version("tflite-runtime") or ""
    )


def library() -> Any:
    """Import the package, or say what to install."""
    found = packages.version("tflite-runtime") or ""
    # With numpy 2 the import succeeds and Interpreter() fails, and it says nothing that a reader could act on.
    if int(np.__version__.split(".", 1)[0]) >= 2:
        raise MachineLacks(
            f"tflite-runtime {found} needs numpy < 2, found numpy {np.__version__}; "
            "install sprat-device[tflite] in an environment of its own"
        )
    try:
        return importlib.import_module("tflite_runtime.interpreter")
    except ImportError as exc:
        raise MachineLacks(f"tflite-runtime {found} cannot be imported ({exc}); install it again") from exc
