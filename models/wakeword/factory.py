"""Spoken phrases for a given wake word model: "Okay Nabu" and others, said by a formant synthesizer.

The phrases are spoken by eSpeak NG (the library and its voices are files of the `espeakng-loader` package) and become
log energies of 40 bands every ten milliseconds by the model's own front end, the `pymicro-features` package. A device runs
the same front end on its microphone.
"""

from __future__ import annotations

from typing import Any

STEPS, FRAMES, BANDS = 70, 3, 40
"""A row is 70 readings of three frames: 2.1 seconds."""
RATE = 16_000
WAKE = ("okay nabu", "okay naboo")
OTHER = ("hello there", "turn on the light", "what time is it", "a banana boat", "play some music", "good morning",
         "the cat sat down", "stop it now")  # fmt: skip
VOICES = ("en-us", "en", "en-us+f3", "en+m3", "it", "en-gb-scotland")
SPEEDS, PITCHES, SEED = (140, 160, 180), (40, 60), 11


def data() -> dict[str, Any]:
    """Return sequences of readings [rows, 70, 3, 40] and whether each holds the wake word."""
    import io
    import subprocess
    import sys

    import numpy as np

    # In a fresh process: the synthesizer remembers what it said before, and the same rows must come every time.
    made = subprocess.run([sys.executable, __file__], capture_output=True, check=False)
    if made.returncode:
        raise RuntimeError(made.stderr.decode(errors="replace").strip().splitlines()[-1])
    with np.load(io.BytesIO(made.stdout), allow_pickle=False) as rows:
        return {"features": rows["features"], "word": rows["word"]}


def _rows() -> dict[str, Any]:
    """Say every phrase in every voice."""
    import numpy as np

    speak = _speaker()
    rng = np.random.default_rng(SEED)
    rows, labels = [], []
    for text in (*WAKE, *OTHER):
        for voice in VOICES:
            for speed in SPEEDS:
                for pitch in PITCHES[: 2 if text in WAKE else 1]:
                    rows.append(_readings(_in_a_room(speak(text, voice, speed, pitch), rng)))
                    labels.append(int(text in WAKE))
    return {"features": np.stack(rows).astype("float32"), "word": np.array(labels)}


def _in_a_room(speech: Any, rng: Any) -> Any:
    """Put the phrase behind half a second of a quiet room, and fill what is left of the row with it."""
    import numpy as np

    room = rng.normal(0, 30, STEPS * FRAMES * RATE // 100 + RATE)
    start = RATE // 2 + int(rng.integers(0, RATE // 10))
    speech = speech[: len(room) - start]
    room[start : start + len(speech)] += speech
    return np.clip(room, -32768, 32767).astype("<i2")


def _readings(sound: Any) -> Any:
    """Return the front end's frames in readings of three."""
    import numpy as np
    from pymicro_features import MicroFrontend

    front, raw, frames = MicroFrontend(), sound.tobytes(), []
    while len(frames) < STEPS * FRAMES:
        found = front.process_samples(raw[:320])
        raw = raw[found.samples_read * 2 :]
        if found.features:
            frames.append(found.features)
    return np.array(frames, np.float32).reshape(STEPS, FRAMES, BANDS)


def _speaker() -> Any:
    """Return a function that says a text and returns its samples, 16,000 a second."""
    import ctypes
    import importlib.util
    from pathlib import Path

    import numpy as np

    spec = importlib.util.find_spec("espeakng_loader")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the voices are in the package espeakng-loader: pip install --no-deps espeakng-loader")
    folder = Path(spec.origin).parent
    library = ctypes.CDLL(str(next(folder.glob("libespeak-ng.*"))))
    synchronous, speed_parameter, pitch_parameter, utf8 = 2, 1, 3, 1
    own_rate = library.espeak_Initialize(synchronous, 0, str(folder / "espeak-ng-data").encode(), 0)
    said: list[Any] = []

    def hear(samples: Any, count: int, _events: Any) -> int:
        if count > 0:
            said.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)(hear)
    library.espeak_SetSynthCallback(callback)

    def speak(text: str, voice: str, speed: int, pitch: int, *, _alive: Any = callback) -> Any:
        said.clear()
        library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))  # its breath is noise: the same phrase must sound the same
        library.espeak_SetVoiceByName(voice.encode())
        library.espeak_SetParameter(speed_parameter, speed, 0)
        library.espeak_SetParameter(pitch_parameter, pitch, 0)
        raw = text.encode() + b"\0"
        library.espeak_Synth(raw, len(raw), 0, 0, 0, utf8, None, None)
        samples = np.concatenate(said).astype(np.float64)
        times = np.arange(0, len(samples) - 1, own_rate / RATE)
        return np.interp(times, np.arange(len(samples)), samples)

    return speak


def _main() -> None:
    """Write the rows to standard output."""
    import io
    import sys

    import numpy as np

    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **_rows())
    sys.stdout.buffer.write(out.getvalue())


if __name__ == "__main__":
    _main()
