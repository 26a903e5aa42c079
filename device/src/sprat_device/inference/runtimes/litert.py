"""LiteRT (`ai-edge-litert`), TensorFlow Lite's successor."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from sprat_device.board import packages
from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.contract.errors import MachineLacks
from sprat_device.inference.runtimes import _interpreter
from sprat_device.inference.runtimes.raw import RawSession


def load(artifact: Path, settings: RuntimeSettings) -> RawSession:
    """Load one `.tflite` artifact."""
    return _interpreter.load(
        library(), artifact, settings, runtime="litert", version=packages.version("ai-edge-litert") or ""
    )


def library() -> Any:
    """Import the package, or say what to install."""
    try:
        return importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as exc:
        raise MachineLacks(f"litert: ai-edge-litert cannot be imported ({exc}); install sprat-device[litert]") from exc
