"""`sprat-device check` tells whether a bundle gives its golden outputs here, how fast, and with how much memory.

A program of its own: the updater and the compiler run it as a fresh process, so that its memory is its own and a
runtime that crashes takes nothing else with it. With `--json` one document stands on stdout.
Exit codes: 0 it does, 1 the bundle is refused, 2 wrong use, 4 this machine lacks something.
"""

from __future__ import annotations

import errno
import json
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from sprat_device.board import memory
from sprat_device.board.arch import arch
from sprat_device.board.settings import RuntimeSettings
from sprat_device.board.settings import runtime as runtime_settings
from sprat_device.board.usage import CommandLine, folder
from sprat_device.contract import bundle as bundles
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.errors import BundleRefused, MachineLacks, SpratError, WrongUse
from sprat_device.contract.phases import Reason
from sprat_device.inference import runtimes
from sprat_device.inference.golden import GoldenResult, reproduce
from sprat_device.inference.runtimes.raw import RunFailed
from sprat_device.inference.session import Session, open_file

_WARM_UP: Final = 20
_RUNS: Final = 300
_MOST_NS: Final = 3_000_000_000
"""Slow models are measured over fewer runs."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found; `reason` and `detail` are empty when it is `ok`. Sizes in KiB, latencies of one prediction."""

    bundle: str
    runtime: str = ""
    runtime_version: str = ""
    golden: GoldenResult | None = None
    load_ms: float = 0.0
    latency_us: Mapping[str, float] = field(default_factory=dict)
    rss_peak_kib: int = 0
    ram_above_floor_kib: int = 0
    machine: str = field(default_factory=arch)
    python: str = field(default_factory=platform.python_version)
    ok: bool = False
    reason: str = ""
    detail: str = ""
    exit_code: int = 0


def check(
    bundle: Path,
    runtime: str | None = None,
    *,
    cache: Path | None = None,
    settings: RuntimeSettings | None = None,
    skip_golden: bool = False,
) -> CheckResult:
    """Check one bundle on one runtime; whatever stops it stands in the result."""
    result = CheckResult(str(bundle))
    settings = settings or RuntimeSettings()
    try:
        if cache is not None:
            return _checked(result, bundle, runtime, cache=cache, settings=settings, skip_golden=skip_golden)
        with tempfile.TemporaryDirectory(prefix="sprat-check-") as folder:
            return _checked(result, bundle, runtime, cache=Path(folder), settings=settings, skip_golden=skip_golden)
    except SpratError as exc:
        return replace(result, reason=_reason(exc), detail=_sentence(exc), exit_code=exc.exit_code)
    except OSError as exc:
        # Where every scratch folder is full or read-only, the standard library says that it has found none.
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT) and "temporary directory" not in (exc.strerror or ""):
            raise
        detail = f"no room for scratch files ({exc.strerror}); free some space"
        return replace(result, reason=Reason.NO_FLASH, detail=detail, exit_code=MachineLacks.exit_code)


def _checked(
    result: CheckResult, bundle: Path, runtime: str | None, *, cache: Path, settings: RuntimeSettings, skip_golden: bool
) -> CheckResult:
    with open_file(bundle) as file, bundles.read(file) as opened:
        wanted = opened.manifest
        name = runtimes.choose(wanted.artifact.format, wanted.runtimes, runtimes.available(), runtime=runtime)
        golden = opened.golden()
    # What is in memory by now, the runtime's library included, is the floor that any model stands on.
    runtimes.warm(name)
    memory.reset_peak()
    floor = memory.resident_kib()
    begun = time.perf_counter_ns()
    session = Session.open(bundle, cache=cache, runtime=name, settings=settings)
    load_ns = time.perf_counter_ns() - begun
    result = replace(result, runtime=name, runtime_version=session.runtime_version, load_ms=round(load_ns / 1e6, 3))
    found = None if skip_golden else reproduce(session, golden)
    if found is not None and not found.ok:
        return replace(
            result, golden=found, reason=Reason.GOLDEN_MISMATCH, detail=_mismatch(found, session, settings), exit_code=1
        )
    latency = _latency(session, golden)
    peak = memory.peak_kib()
    return replace(
        result, golden=found, latency_us=latency, rss_peak_kib=peak, ram_above_floor_kib=max(0, peak - floor), ok=True
    )


def _latency(session: Session, golden: GoldenSet) -> dict[str, float]:
    """Time single predictions over the golden inputs, checks of the input included, as the loop makes them."""
    rows = [{name: array[row] for name, array in golden.inputs.items()} for row in range(session.manifest.golden.count)]
    taken: list[int] = []
    until = time.perf_counter_ns() + _MOST_NS
    for run in range(_WARM_UP + _RUNS):
        begun = time.perf_counter_ns()
        reading = rows[run % len(rows)]
        session.check_input(reading)
        session.predict(reading)
        ended = time.perf_counter_ns()
        taken.append(ended - begun)
        if ended > until:
            break
    measured = taken[min(_WARM_UP, len(taken) // 2) :]
    p50, p99 = np.percentile(measured, [50, 99]) / 1e3
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}


def _mismatch(found: GoldenResult, session: Session, settings: RuntimeSettings) -> str:
    off = "not comparable (not finite, or of another shape)" if found.worst is None else f"off by up to {found.worst:g}"
    how = "".join(f", {word}" for word in runtime_settings.told(settings))
    return (
        f"golden {found.what} on {session.runtime} {session.runtime_version}{how} are {off}, "
        f"allowed {found.tolerance:g} {found.kind}; build again and prove the bundle on this runtime"
    )


def _reason(exc: SpratError) -> str:
    match exc:
        case BundleRefused():
            return exc.reason
        case MachineLacks(__cause__=OSError()):
            return Reason.NO_FLASH
        case MachineLacks():
            return Reason.WRONG_RUNTIME
        case RunFailed():
            return Reason.CHECK_FAILED
        case _:
            return ""


def _sentence(exc: SpratError) -> str:
    return " ".join(str(exc.args[0]).split())


def document(result: CheckResult) -> dict[str, Any]:
    """Return the result as plain values for JSON."""
    plain = asdict(result)
    plain.pop("exit_code")
    return plain


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = _parser()
    parsed = parser.parse_args(argv)
    if parsed.runtimes:
        sys.stdout.write(json.dumps({"runtimes": runtimes.available(), "machine": arch()}) + "\n")
        return 0
    if parsed.bundle is None:
        parser.error("a bundle is needed")
    try:
        settings = runtime_settings.heard([f"threads={parsed.threads}", *parsed.set])
    except WrongUse as exc:
        parser.error(str(exc))
    result = check(parsed.bundle, parsed.runtime, cache=parsed.cache, settings=settings, skip_golden=parsed.skip_golden)
    if parsed.json:
        sys.stdout.write(json.dumps(document(result)) + "\n")
    else:
        (sys.stdout if result.ok else sys.stderr).write(_line(result) + "\n")
    return result.exit_code


def _line(result: CheckResult) -> str:
    if not result.ok:
        return f"sprat-device check: {': '.join(part for part in (result.reason, result.detail) if part)}"
    golden = result.golden
    proof = (
        f"{golden.count} golden outputs reproduced (worst {golden.worst:g}, allowed {golden.tolerance:g} {golden.kind})"
        if golden
        else "golden set skipped"
    )
    return (
        f"{result.bundle}: ok on {result.runtime} {result.runtime_version}: {proof}; "
        f"p50 {result.latency_us['p50']:g} us, p99 {result.latency_us['p99']:g} us, load {result.load_ms:g} ms, "
        f"{result.ram_above_floor_kib} KiB above the runtime's floor"
    )


def _parser() -> CommandLine:
    parser = CommandLine(
        prog="sprat-device check",
        description="Reproduce a bundle's golden set on this machine; measure latency and memory.",
    )
    parser.example = "sprat-device check digits.sprat --runtime tflite --json"
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="the .sprat file")
    parser.add_argument("--runtimes", action="store_true", help="only list the installed runtimes, as JSON")
    parser.add_argument(
        "--runtime", metavar="NAME", help="tflite, litert or onnx; default: the bundle's first that is installed"
    )
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="threads of the runtime (%(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of [runtime], such as xnnpack=off"
    )
    parser.add_argument(
        "--cache", metavar="DIR", type=folder, help="folder for the extracted artifact; default: a temporary one"
    )
    parser.add_argument("--skip-golden", action="store_true", help="measure only (while a bundle is being built)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


if __name__ == "__main__":
    sys.exit(main())
