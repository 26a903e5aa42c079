"""What `sprat-device status` tells: the agent's own last report from its state folder, and whether it runs now."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sprat_device.board import alone, identity
from sprat_device.contract.errors import WrongUse
from sprat_device.inference.runtimes import health as runtimes
from sprat_device.inference.runtimes.health import Health


def read(state: Path) -> dict[str, Any]:
    """Return the device's identity and its last report; WrongUse where no agent has run yet."""
    found = identity.load(state)
    path = state / "status.json"
    if not path.exists():
        raise WrongUse(f"{state}: no agent has run here yet; start it with sprat-device run --state {state}")
    report: dict[str, Any] = json.loads(path.read_bytes())
    health = [asdict(each) for each in runtimes.known(state)]
    return {"device": found.device, "running": alone.is_held(state), "report": report, "runtimes": health}


def lines(document: dict[str, Any]) -> list[str]:
    """Return the report as people read it."""
    report = document["report"]
    state = "runs" if document["running"] else "does not run"
    told = [f"{document['device']}: the agent {state}; agent {report['agent']}, clock {report['clock']}"]
    for name, model in report["models"].items():
        active, install = model["active"], model["install"]
        seq = f"release {active['release_seq']} ({active['bundle'][:12]})" if active else "no bundle"
        why = f", {install['reason']}: {install['detail']}" if install["reason"] else ""
        told.append(f"  {name}: {seq}; last install: release {install['release_seq']} {install['phase']}{why}")
    for lane, ledger in report["ledger"].items():
        counts = ", ".join(
            f"{what} {ledger[what]}" for what in ("produced", "acked", "spooled", "open", "evicted", "damaged")
        )
        told.append(f"  {lane}: {counts}")
    return told + [f"  runtime {line}" for line in runtimes.lines([Health(**each) for each in document["runtimes"]])]
