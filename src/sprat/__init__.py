"""Sprat: train, quantize, sign and ship models to fleets of small computers, and keep them healthy there.

For notebooks: `sprat.build(recipe)`, `sprat.load(bundle).run(inputs)`, `sprat.Hub(url).devices()`; for factories:
`sprat.Part`. Each is imported on first use, so that `import sprat` stays light.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

__version__: Final = "0.1.0"
__all__ = ["Hub", "Part", "build", "load"]

_LAZY: Final = {
    "build": ("sprat.compiler.build", "build"),
    "load": ("sprat.session", "load"),
    "Hub": ("sprat.client", "HubClient"),
    "Part": ("sprat.compiler.spec.factory", "Part"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sprat' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)
