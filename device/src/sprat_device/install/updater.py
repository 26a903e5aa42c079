"""The updater, a short-lived process: `python -m sprat_device.install.updater --state DIR --runtimes JSON [--model NAME]`.

Its memory (python-tuf, TLS, X.509) and its crashes are its own. It takes the one lock of the device's signed metadata,
works on the offer in `installs/<model>.json` until it waits for the agent or for a later try, and ends; without a model
it looks at the hub and leaves `look.json`.
Exit codes: 0 ended as it should (also with a refusal, which stands in the record), 3 the hub does not answer a look,
75 another updater holds the lock, 137 out of memory.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sprat_device.board import identity as identities
from sprat_device.board import settings as device_settings
from sprat_device.board import stdio
from sprat_device.board.arch import arch
from sprat_device.board.clock import Clock, SystemClock
from sprat_device.board.files import Files, OsFiles
from sprat_device.board.identity import Identity
from sprat_device.board.settings import DeviceSettings
from sprat_device.board.settings import runtime as runtime_settings
from sprat_device.contract.errors import SpratError
from sprat_device.contract.ids import ModelName
from sprat_device.install.bounds import OUT_OF_MEMORY, limit_memory
from sprat_device.install.fit import Machine
from sprat_device.install.look_record import store
from sprat_device.install.looking import look
from sprat_device.install.looks import BUSY
from sprat_device.install.origins import HubOrigin, Origin
from sprat_device.install.roles import parse_key
from sprat_device.install.trust import Trust
from sprat_device.install.work import Ports, Superseded, work

CHECK: Final = (sys.executable, "-m", "sprat_device.inference.check")


def main(argv: Sequence[str] | None = None) -> int:
    """Work on one model's offer, or look at the hub."""
    parser = argparse.ArgumentParser(prog="sprat-device updater", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--state", type=Path, required=True, help="the device's state folder")
    parser.add_argument(
        "--model", type=parse_key, help="the model, or model+shadow, whose offer is worked on; none: look at the hub"
    )
    parser.add_argument(
        "--runtimes", type=json.loads, required=True, help="installed runtimes: JSON of name to version"
    )
    parsed = parser.parse_args(argv)
    try:
        return run(parsed.state, parsed.model, parsed.runtimes)
    except (MemoryError, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno != errno.ENOMEM:
            raise
        sys.stderr.write("sprat-device updater: out of memory; install.updater_memory_kib says how much it may take\n")
        return OUT_OF_MEMORY
    except SpratError as exc:
        sys.stderr.write(f"sprat-device updater: {exc}\n")
        return exc.exit_code


def run(state: Path, model: ModelName | None, runtimes: Mapping[str, str]) -> int:
    """Work on one model's offer, or look at the hub, with this machine's disk, clock and hub."""
    settings = device_settings.load(state, environment=os.environ)
    limit_memory(settings.install.updater_memory_kib)
    ports = ports_of(state, identities.load(state), settings, runtimes=runtimes)
    with locked(ports.files, state) as mine:
        if not mine:
            return BUSY
        if model is None:
            store(look(ports, hub_of(ports)), state, ports.files)
            return 0
        with suppress(Superseded):
            work(model, ports)
    return 0


def hub_of(ports: Ports) -> HubOrigin:
    """Return the hub, for what a folder cannot answer."""
    if not isinstance(ports.origin, HubOrigin):
        raise AssertionError("a look needs a hub")  # noqa: TRY004 - a fault of the caller, not of a type
    return ports.origin


def ports_of(
    state: Path,
    identity: Identity,
    settings: DeviceSettings,
    *,
    runtimes: Mapping[str, str],
    brought: Origin | None = None,
) -> Ports:
    """Wire the real parts; `brought` is a copied repository that stands in for the hub."""
    files, clock = OsFiles(), SystemClock(settings.clock_state)
    trust = trust_of(state, identity, files, clock)
    hub_url = settings.hub.url or identity.hub_url
    origin = brought or HubOrigin(hub_url, identity, trusted_us=trust.trusted_us)
    return Ports(
        state=state,
        files=files,
        clock=clock,
        settings=settings.install,
        identity=identity,
        machine=this_machine(runtimes, settings.runtime.prefer),
        origin=origin,
        trust=trust,
        # The golden set is proven as the agent will run the artifact.
        check=(*CHECK, *(f"--set={word}" for word in runtime_settings.told(settings.runtime))),
    )


def trust_of(state: Path, identity: Identity, files: Files, clock: Clock) -> Trust:
    """Open the signed metadata under the pinned root."""
    return Trust(state, root=files.read(identity.root), files=files, clock=clock)


def this_machine(runtimes: Mapping[str, str], prefer: Sequence[str]) -> Machine:
    """Say what this machine is."""
    ram_kib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    return Machine(arch(), ram_kib, dict(runtimes), tuple(prefer))


@contextmanager
def locked(files: Files, state: Path) -> Iterator[bool]:
    """Hold the lock of the signed metadata; yields False where another process has it."""
    files.make_folder(state / "installs")
    with (state / "installs" / "updater.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


if __name__ == "__main__":
    stdio.never_wait()
    sys.exit(main())
