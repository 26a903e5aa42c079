"""Where conversions run: the executor port, and its adapter for workers on this machine (`cluster.py` has the other).

An order is one conversion. It runs in a process of its own with limits, so whatever a converter does costs one
candidate. Orders of one build only read the job folder: they may run side by side, and elsewhere.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from sprat.compiler.workers.processes import Limits, WorkerProcess
from sprat.compiler.workers.work import Work
from sprat.errors import WrongUse

Answer = dict[str, Any]
MOST_JOBS = 256


@dataclass(frozen=True, slots=True)
class Order:
    """One conversion: the build's common facts, the scheme, and the file that the artifact goes to."""

    work: Work
    scheme: str
    out: Path

    def job(self) -> Mapping[str, Any]:
        """Return what a worker process is told."""
        return {"job": "lower", "work": asdict(self.work), "scheme": self.scheme, "out": str(self.out)}


class Executor(Protocol):
    """Runs conversions; a future's result is the answer (the artifact is then in place), or it raises."""

    @property
    def width(self) -> int:
        """Return how many processes of this machine it may keep busy."""
        ...

    def submit(self, order: Order) -> Future[Answer]:
        """Begin one conversion."""
        ...

    def close(self) -> None:
        """Stop everything, finished or not."""
        ...


class Pool:
    """Worker processes of this machine, made when they are needed; the one that was used last comes first."""

    def __init__(self, *, log: Path, limits: Limits, width: int = 1) -> None:
        self.width = width
        self._idle: queue.LifoQueue[WorkerProcess] = queue.LifoQueue()
        logs = [log, *(log.with_suffix(f".{i}{log.suffix}") for i in range(1, width))]
        # The first one is put in last: it trains, and so has the framework imported when conversions begin.
        self._every = tuple(WorkerProcess(log=one, limits=limits) for one in reversed(logs))
        for worker in self._every:
            self._idle.put(worker)

    def run(self, job: Mapping[str, Any]) -> Answer:
        """Run one job in the next idle worker."""
        worker = self._idle.get()
        try:
            return worker.run(job)
        finally:
            self._idle.put(worker)

    def kill(self) -> None:
        """Kill whatever runs; who waits for it hears so."""
        for worker in self._every:
            worker.kill()

    def close(self) -> None:
        """End all workers, when nobody uses them any more."""
        for worker in self._every:
            worker.close()


class LocalExecutor:
    """Up to `width` conversions side by side in the workers of a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._threads = ThreadPoolExecutor(pool.width, thread_name_prefix="sprat-jobs")

    @property
    def width(self) -> int:
        """Return the number of workers."""
        return self._pool.width

    def submit(self, order: Order) -> Future[Answer]:
        """Begin one conversion."""
        return self._threads.submit(self._pool.run, order.job())

    def close(self) -> None:
        """Drop what has not begun, and wait for the rest."""
        self._threads.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a build may run its conversions: a number of local workers, or a cluster's address."""

    workers: int = 1
    cluster: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read `--jobs`: a whole number, or `dask://host:port`; WrongUse says what was found."""
        if text.startswith("dask://"):
            host, _, port = text.removeprefix("dask://").rpartition(":")
            if host and port.isdecimal() and 0 < int(port) < 65536:
                return cls(cluster=f"tcp://{host}:{port}")
        elif text.isdecimal() and 1 <= int(text) <= MOST_JOBS:
            return cls(workers=int(text))
        raise WrongUse(f"--jobs {text!r}: expected 1 to {MOST_JOBS}, or dask://host:port")
