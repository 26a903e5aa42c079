"""What a bundle is installed for: to answer, or to stand beside as the shadow; each has a record and retries of its own.

The key of an install is the model's name, or that name and a mark that no model's name can have.
"""

from __future__ import annotations

from typing import Final

from sprat_device.contract.ids import ModelName, model_name

_SHADOW: Final = "+shadow"


def shadow_of(model: ModelName) -> ModelName:
    """Return the key of a model's shadow."""
    return ModelName(f"{model}{_SHADOW}")


def is_shadow(key: str) -> bool:
    """Tell whether a key is that of a shadow."""
    return key.endswith(_SHADOW)


def model_of(key: ModelName) -> ModelName:
    """Return the model of a key."""
    return ModelName(key.removesuffix(_SHADOW))


def parse_key(value: str) -> ModelName:
    """Return `value` as a key, or raise ContractError."""
    model = model_name(value.removesuffix(_SHADOW))
    return shadow_of(model) if is_shadow(value) else model
