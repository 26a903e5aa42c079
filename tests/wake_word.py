"""Sequences that a real wake word model hears, and others: made by climbing from noise, since no package ships its audio."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

Array = npt.NDArray[np.float64]

STEPS, FRAME, BANDS = 40, 3, 40
"""Readings of a sequence; frames of 10 ms in a reading; bands of the spectrum in a frame."""
LOUDEST = 26.0


def path(name: str = "okay_nabu") -> Path:
    """Return the model's file in its wheel, whose code is not run."""
    found = find_spec("pymicro_wakeword")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "models" / f"{name}.tflite"


def hear(sequence: Array) -> list[int]:
    """Return the raw output after each reading; a new interpreter, since nothing else forgets."""
    model = Interpreter(model_path=str(path()))
    model.allocate_tensors()
    (entry,), (exit_,) = model.get_input_details(), model.get_output_details()
    scale, zero = entry["quantization"]
    found = []
    for reading in np.clip(np.rint(sequence / scale) + zero, -128, 127).astype(np.int8):
        model.set_tensor(entry["index"], reading[None])
        model.invoke()
        found.append(int(model.get_tensor(exit_["index"]).ravel()[0]))
    return found


def smooth(rng: np.random.Generator, times: int, bands: int) -> Array:
    """Return a random field over time and bands, as coarse as it is asked for."""
    coarse = rng.normal(0, 1, (times, bands))
    long = np.linspace(0, 1, STEPS * FRAME)
    stretched = np.stack([np.interp(long, np.linspace(0, 1, times), column) for column in coarse.T], axis=1)
    wide = np.linspace(0, 1, BANDS)
    field = np.stack([np.interp(wide, np.linspace(0, 1, bands), row) for row in stretched])
    return field.reshape(STEPS, FRAME, BANDS)


def heard(seed: int = 0, *, rounds: int = 4000) -> Array:
    """Return one sequence after which the model is sure, found by keeping each change that does not make it less so."""
    rng = np.random.default_rng(seed)

    def surety(sequence: Array) -> int:
        return sum(sorted(hear(sequence))[-3:])

    best = (10 + 6 * smooth(rng, 16, 6)).clip(0, LOUDEST)
    reached = surety(best)
    for _ in range(rounds):
        if reached > 700:
            return best
        change = smooth(rng, int(rng.integers(4, 40)), int(rng.integers(2, 16)))
        tried = (best + rng.uniform(0.3, 4) * change).clip(0, LOUDEST)
        found = surety(tried)
        if found >= reached:
            best, reached = tried, found
    raise AssertionError(f"the model was never sure: {reached} of 765")


def sequences(count: int, seed: int = 1) -> Array:
    """Return as many sequences, about half of them heard."""
    rng = np.random.default_rng(seed)
    word = heard()
    made = [
        word + rng.normal(0, rng.uniform(0.2, 2), word.shape) if row % 2 else 10 + 6 * smooth(rng, 16, 6)
        for row in range(count)
    ]
    return np.stack(made).clip(0, LOUDEST).astype(np.float32)
