"""The executor's adapter for a Dask cluster: `--jobs dask://host:port` (extra `dask`).

The trained model and the split data travel once, as bytes; each conversion unpacks them in a temporary folder of the
machine that it lands on and runs there in a worker process of its own, under the same limits as here. No file system
needs to be shared. A machine with other versions of the packages that decide the bytes is refused, not used.
A Dask cluster runs what it is sent: it is trusted like this machine, so keep its ports off open networks.
"""

from __future__ import annotations

import io
import tarfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.cache import made_by
from sprat.compiler.workers.executors import Answer, Order
from sprat.compiler.workers.processes import JobFailed, Limits, WorkerProcess
from sprat.compiler.workers.scratch import Scratch
from sprat.compiler.workers.work import Work
from sprat.errors import MachineLacks

_CONNECT_S: Final = 15
_OWN: Final = "job"
_BESIDE: Final = "beside"


class DaskExecutor:
    """Conversions as tasks of a Dask cluster; nothing but waiting happens on this machine."""

    width: Final = 1

    def __init__(self, address: str, limits: Limits) -> None:
        try:
            from distributed import Client  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as exc:
            raise MachineLacks("--jobs dask://… needs the package distributed; install sprat[dask]") from exc
        self._address, self._limits = address, limits
        try:
            self._client = Client(address, timeout=_CONNECT_S, set_as_default=False)
            machines = len(self._client.scheduler_info()["workers"])
        except (OSError, TimeoutError) as exc:
            raise MachineLacks(f"no Dask scheduler answers at {address}; start one with `dask scheduler`") from exc
        if not machines:
            self._client.close()
            raise MachineLacks(
                f"the Dask scheduler at {address} has no workers; start one with `dask worker {address}`"
            )
        # Lost workers are not tried again and again: the conversion may be what kills them.
        self._tasks = self._client.get_executor(retries=1)
        self._waiting = ThreadPoolExecutor(64, thread_name_prefix="sprat-dask")
        self._parcels: dict[str, Any] = {}

    def submit(self, order: Order) -> Future[Answer]:
        """Begin one conversion; the artifact is fetched when it is done."""
        key = order.work.folder
        if key not in self._parcels:
            self._parcels[key] = self._client.scatter(pack(order.work), hash=False)
        task = self._tasks.submit(
            convert, self._parcels[key], order.work, order.scheme, self._limits, made_by(),
        )  # fmt: skip
        return self._waiting.submit(self._fetch, task, order.out)

    def close(self) -> None:
        """Forget what runs, and leave the cluster."""
        self._waiting.shutdown(wait=False, cancel_futures=True)
        self._tasks.shutdown(wait=False)
        self._client.close()

    def _fetch(self, task: Future[tuple[Answer, bytes]], out: Path) -> Answer:
        from distributed import CancelledError, KilledWorker  # noqa: PLC0415

        # Every conversion may have to wait for all others of this build, each within its own limit.
        patience = self._limits.timeout_s * 32
        try:
            answer, artifact = task.result(timeout=patience)
        except (KilledWorker, CancelledError) as exc:
            raise JobFailed(GateCode.CONVERSION_FAILED, f"the Dask worker at {self._address} was lost") from exc
        except TimeoutError as exc:
            raise JobFailed(
                GateCode.CONVERSION_TIMEOUT,
                f"no answer from {self._address} after {patience:g} s (32 x conversion_timeout_s)",
            ) from exc
        out.write_bytes(artifact)
        return answer


def pack(work: Work) -> bytes:
    """Return the job folder, and the files beside the factory or the given artifact, as one tar."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as tar:
        tar.add(work.folder, _OWN)
        for place in {work.factory, work.given} - {""}:
            for path in sorted(Path(place).parent.iterdir()):
                if path.is_file() and (path.suffix == ".py" or str(path) == place):
                    tar.add(path, f"{_BESIDE}/{path.name}")
    return into.getvalue()


def convert(parcel: bytes, work: Work, scheme: str, limits: Limits, versions: dict[str, str]) -> tuple[Answer, bytes]:
    """Run one conversion on the machine that this is called on; its own errors cross back as they are."""
    _require_same(versions)
    with Scratch() as scratch:
        folder = scratch.path
        with tarfile.open(fileobj=io.BytesIO(parcel)) as tar:
            tar.extractall(folder, filter="data")
        here = _moved(work, folder)
        process = WorkerProcess(log=folder / "log", limits=limits)
        try:
            answer = process.run(Order(here, scheme, folder / "artifact").job())
        finally:
            process.close()
        return answer, (folder / "artifact").read_bytes()


def _moved(work: Work, folder: Path) -> Work:
    def beside(place: str) -> str:
        return str(folder / _BESIDE / Path(place).name) if place else ""

    return replace(work, folder=str(folder / _OWN), factory=beside(work.factory), given=beside(work.given))


def _require_same(versions: dict[str, str]) -> None:
    """Refuse to convert where the bytes could come out different."""
    here = made_by()
    for name in sorted(versions.keys() | here.keys()):
        if versions.get(name) != here.get(name):
            raise MachineLacks(
                f"the Dask worker has {name} {here.get(name, 'not installed')[:12]}, this build "
                f"{versions.get(name, 'none')[:12]}; install the same versions there"
            )
