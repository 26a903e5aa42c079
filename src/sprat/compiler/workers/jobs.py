"""A build's jobs: training on this machine, conversions by an executor, both taken from the cache where it has them.

Every job runs in a worker process with a time and a memory limit; a crash or an overrun is a failed job with a name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

from sprat.compiler.spec import beside
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.cache import Cache, Entry, digest_of, key_of
from sprat.compiler.workers.executors import Answer, Executor, LocalExecutor, Order, Place, Pool
from sprat.compiler.workers.processes import JobFailed, Limits
from sprat.compiler.workers.work import DATA, Work

__all__ = ["JobFailed", "Jobs"]

_SOURCES: Final = frozenset({".py", ".csv", ".npz", ".onnx", ".tflite", ".keras", ".json"})
"""What beside a factory may decide what it returns."""

_REFUSED: Final = "refused"
_MAY_PASS_NEXT_TIME: Final = frozenset(
    {GateCode.CONVERSION_FAILED, GateCode.CONVERSION_TIMEOUT, GateCode.CONVERSION_MEMORY}
)
"""Failures that may have been the machine's: they are never taken from the cache."""


class Jobs:
    """Runs the jobs of one build; `seconds` sums up what the author's code and the converters took on the clock."""

    def __init__(
        self, *, log: Path, timeout_s: float, memory_mb: float = 0.0, place: Place | None = None,
        cache: Cache | None = None,
    ) -> None:  # fmt: skip
        place = place or Place()
        limits = Limits(timeout_s, memory_mb)
        self._pool = Pool(log=log, limits=limits, width=place.workers)
        self._executor = _executor(place, self._pool, limits)
        self._cache = cache
        self.seconds = {"data": 0.0, "train": 0.0, "convert": 0.0}

    @property
    def width(self) -> int:
        """Return how many processes of this machine a build may keep busy."""
        return self._executor.width

    def columns(self, factory: Path, out: Path) -> None:
        """Run a factory's `data()` into an npz file."""
        begun = time.monotonic()
        self._pool.run({"job": "data", "path": str(factory), "out": str(out)})
        self.seconds["data"] += time.monotonic() - begun

    def train(self, work: Work) -> Answer:
        """Train, and keep the research model's answers; the work's folder then holds the model."""
        key = key_of("train", facts_of(work)) if self._cache else ""
        if self._cache and (found := self._cache.get(key)):
            for name, raw in found.files.items():
                path = work.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(raw)
            return found.answer
        begun = time.monotonic()
        answer = self._pool.run({"job": "train", "work": asdict(work)})
        self.seconds["train"] += time.monotonic() - begun
        if self._cache:
            self._cache.put(key, Entry(answer, _left_in(work.path)))
        return answer

    def lower(
        self, work: Work, wanted: Mapping[str, Path], *, source: str = "", say: Callable[[str], None] = lambda _: None
    ) -> dict[str, Answer | JobFailed]:
        """Convert by each scheme into its file, in the order that is asked for; a failed one has its error instead.

        `source` is the digest of the trained model: a conversion is found again only for the same one.
        """
        facts = {**facts_of(work), "source": source} if self._cache else {}
        keys = {scheme: key_of(f"lower/{scheme}", facts) for scheme in wanted} if self._cache else {}
        done: dict[str, Answer | JobFailed] = {}
        begun: dict[str, Future[Answer]] = {}
        start = time.monotonic()
        for scheme, out in wanted.items():
            if self._cache and (found := self._cache.get(keys[scheme])):
                done[scheme] = _kept(found, out)
                continue
            say(f"converting: {scheme}")
            begun[scheme] = self._executor.submit(Order(work, scheme, out))
        for scheme, future in begun.items():
            try:
                answer = done[scheme] = future.result()
            except JobFailed as exc:
                done[scheme] = exc
                if self._cache and exc.code not in _MAY_PASS_NEXT_TIME:
                    self._cache.put(keys[scheme], Entry({_REFUSED: exc.code, "said": str(exc)}))
                continue
            if self._cache:
                self._cache.put(keys[scheme], Entry(answer, {"artifact": wanted[scheme].read_bytes()}))
        self.seconds["convert"] += time.monotonic() - start if begun else 0.0
        return {scheme: done[scheme] for scheme in wanted}

    def describe(self, path: Path, kind: str) -> Answer:
        """Return inputs, outputs and operators of an artifact file."""
        return self._pool.run({"job": "describe", "path": str(path), "kind": kind})

    def close(self) -> None:
        """End all workers."""
        self._pool.kill()  # first, so that nobody waits for a conversion that nobody wants any more
        self._executor.close()
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _kept(found: Entry, out: Path) -> Answer | JobFailed:
    """Return what an entry holds: an artifact, put in place, or a scheme's own word that there is nothing to make."""
    if _REFUSED in found.answer:
        return JobFailed(GateCode(found.answer[_REFUSED]), found.answer["said"])
    out.write_bytes(found.files["artifact"])
    return found.answer


def _executor(place: Place, pool: Pool, limits: Limits) -> Executor:
    if not place.cluster:
        return LocalExecutor(pool)
    from sprat.compiler.workers.cluster import DaskExecutor  # noqa: PLC0415 - an extra, and slow to import

    return DaskExecutor(place.cluster, limits)


def facts_of(work: Work) -> dict[str, Any]:
    """Return what decides a result of this work, without the places where its files happen to lie."""
    plain = {key: value for key, value in asdict(work).items() if key not in {"folder", "factory", "given"}}
    given = Path(work.given or work.factory)
    near = [path for path in sorted(given.parent.iterdir()) if path.suffix in _SOURCES and path.is_file()]
    # A model exported again often has the same .onnx and other weights in the file beside it.
    files = {*near, given, *beside.weights_of(given)}
    sources = {path.relative_to(given.parent).as_posix(): digest_of(path) for path in files}
    return plain | {"named": given.name, "sources": sources, "data": digest_of(work.path / DATA)}


def _left_in(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path != folder / DATA}
