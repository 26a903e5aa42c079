"""From an artifact's outputs to an answer: what each output means is declared in the manifest.

The columns of `probabilities` and `decision` stand in the order of the manifest's labels. A decision is a score for
each class that is no probability (a support vector machine's distance): the highest names the label.

| outputs declared | label | outputs of the answer |
| --- | --- | --- |
| `probabilities` (with or without `label`) | position of the highest | the probabilities |
| `decision` | position of the highest | the decision scores |
| one probability of two labels | 1 from 0.5 on | its complement and itself |
| `label` alone | the position, or the text's place among the labels | none but the label's position |
| `score` with a threshold | 1 above it, else 0 | the score |
| `score` without (with or without `label`) | 1 where scikit-learn's label says -1, else 0; NO_LABEL without | the score |
| `values`, of one or several outputs | NO_LABEL | the values, output after output |

An output that is the `embedding` is no part of an answer, and goes along for drift alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sprat_device.contract import embedding
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.contract.records import NO_LABEL
from sprat_device.inference.runtimes.raw import RunFailed
from sprat_device.inference.tensors import values

Outputs = Mapping[str, npt.NDArray[Any]]


class Answer(NamedTuple):
    """A label's position (or NO_LABEL) and the scores or values, float32 [width].

    `embedding` is the artifact's own tensor, flat and as it came: few are looked at, and only these are brought into
    their unit. None where the manifest names none.
    """

    label: int
    outputs: npt.NDArray[np.float32]
    embedding: npt.NDArray[Any] | None = None


def answering(manifest: Manifest) -> Callable[[Outputs], Answer]:
    """Return what makes an answer of the raw outputs of one row, or refuse a manifest that declares no meaning."""
    plain = _plain(manifest)
    if (spec := embedding.of(manifest.outputs)) is None:
        return plain
    name = spec.name

    def answer(raw: Outputs) -> Answer:
        label, outputs, _ = plain(raw)
        return Answer(label, outputs, raw[name].ravel())

    return answer


def _plain(manifest: Manifest) -> Callable[[Outputs], Answer]:
    by_meaning = {spec.meaning: spec for spec in manifest.outputs}
    if (spec := by_meaning.get("probabilities")) is not None:
        return _single_probability(spec) if _width(spec) == 1 and len(manifest.labels) == 2 else _probabilities(spec)
    if (spec := by_meaning.get("decision")) is not None:
        return _probabilities(spec)
    if (spec := by_meaning.get("score")) is not None:
        return _score(spec, by_meaning.get("label")) if spec.threshold is None else _above(spec, spec.threshold)
    if "values" in by_meaning:
        return _values([spec for spec in manifest.outputs if spec.meaning == "values"])
    if (spec := by_meaning.get("label")) is not None:
        return _label(spec, manifest.labels)
    found = ", ".join(sorted(repr(meaning) for meaning in by_meaning))
    raise BundleRefused(
        Reason.BAD_BUNDLE,
        f"manifest.outputs: meaning {found}, expected probabilities, decision, label, values or score",
    )


def gives_scores(manifest: Manifest) -> bool:
    """Tell whether answers hold probabilities (half precision is enough for them on the wire)."""
    return any(spec.meaning == "probabilities" for spec in manifest.outputs)


def answer_width(manifest: Manifest) -> int:
    """Return how many outputs an answer has."""
    by_meaning = {spec.meaning: spec for spec in manifest.outputs}
    if (spec := by_meaning.get("probabilities")) is not None:
        return 2 if _width(spec) == 1 and len(manifest.labels) == 2 else _width(spec)
    for meaning in ("decision", "score"):
        if (spec := by_meaning.get(meaning)) is not None:
            return _width(spec)
    return sum(_width(spec) for spec in manifest.outputs if spec.meaning == "values") or 1


def _width(spec: TensorSpec) -> int:
    return int(np.prod(spec.shape[1:]))


def _probabilities(spec: TensorSpec) -> Callable[[Outputs], Answer]:
    in_unit = values(spec)

    def answer(raw: Outputs) -> Answer:
        row = raw[spec.name].ravel()
        # Dequantizing keeps the order, so the label is found before it.
        return Answer(int(row.argmax()), in_unit(row))

    return answer


def _single_probability(spec: TensorSpec) -> Callable[[Outputs], Answer]:
    in_unit = values(spec)

    def answer(raw: Outputs) -> Answer:
        p = float(in_unit(raw[spec.name].ravel())[0])
        return Answer(int(p >= 0.5), np.array([1 - p, p], np.float32))

    return answer


def _score(spec: TensorSpec, label: TensorSpec | None) -> Callable[[Outputs], Answer]:
    in_unit = values(spec)

    def answer(raw: Outputs) -> Answer:
        position = NO_LABEL if label is None else int(int(raw[label.name].ravel()[0]) == -1)
        return Answer(position, in_unit(raw[spec.name].ravel()))

    return answer


def _above(spec: TensorSpec, threshold: float) -> Callable[[Outputs], Answer]:
    in_unit = values(spec)

    def answer(raw: Outputs) -> Answer:
        score = in_unit(raw[spec.name].ravel())
        # Not-a-number is above nothing, so a broken score would pass for normal: it has no label.
        label = int(score[0] > threshold) if np.isfinite(score[0]) else NO_LABEL
        return Answer(label, score)

    return answer


def _values(specs: list[TensorSpec]) -> Callable[[Outputs], Answer]:
    units = [(spec.name, values(spec)) for spec in specs]
    if len(units) == 1:
        ((name, in_unit),) = units
        return lambda raw: Answer(NO_LABEL, in_unit(raw[name].ravel()))
    return lambda raw: Answer(NO_LABEL, np.concatenate([in_unit(raw[name].ravel()) for name, in_unit in units]))


def _label(spec: TensorSpec, labels: tuple[str, ...]) -> Callable[[Outputs], Answer]:
    places = {name: place for place, name in enumerate(labels)}

    def answer(raw: Outputs) -> Answer:
        said = raw[spec.name].ravel()[0]
        position = places.get(str(said), NO_LABEL) if spec.dtype == "string" else int(said)
        if not 0 <= position < len(labels):
            raise RunFailed(f"label {str(said)!r} is none of the bundle's {len(labels)}")
        return Answer(position, np.array([position], np.float32))

    return answer
