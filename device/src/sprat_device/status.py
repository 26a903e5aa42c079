"""What `sprat-device status` tells: the agent's own last report, and what the state folder says right now.

Counters and last errors are as of the last report. An agent with a runtime folder in memory (systemd gives it one) tells
it every two seconds; to the disk it is written when something changed, at the end, else every five minutes. What is read
here at once is the size of the spool, the floors, the certificate's end, how runs ended and whether trials are put off.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sprat_device.board import alone, identity
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.board.identity import Identity
from sprat_device.board.runs import End
from sprat_device.board.volatile import STATUS_FILE, VolatileReport
from sprat_device.contract import last_errors, twin
from sprat_device.contract.errors import ContractError, MachineLacks, WrongUse
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.inference.runtimes import health as runtimes
from sprat_device.inference.runtimes.health import Health
from sprat_device.install.floors import ReleaseFloors
from sprat_device.install.hours import deferral

_SOON_DAYS: Final = 60
_SILENT: Final = {True: "is active, but does NOT answer", False: "is active, and did NOT answer"}
_KEPT: Final = ("produced", "acked", "spooled", "open", "evicted", "damaged")


def read(state: Path) -> dict[str, Any]:
    """Return the device's identity and its last report; WrongUse where no agent has run yet."""
    found = identity.load(state)
    report, age_s = _newest(state)
    files = OsFiles()
    floors = ReleaseFloors(files, state)
    return {
        "device": found.device,
        "running": alone.is_held(state),
        "report_age_s": age_s,
        "certificate_ends": _certificate_ends(found),
        "deferred_s": deferral(state, files, SystemClock()),
        "spool_bytes": sum(file.stat().st_size for file in (state / "spool").rglob("*") if file.is_file()),
        "floors": {model: floors.of(model) for model in found.models},
        "runs": _runs(state),
        "report": report,
        "errors": [_explained(error) for error in report.get("errors", ())],
        "runtimes": [asdict(each) for each in runtimes.known(state)],
    }


def _newest(state: Path) -> tuple[dict[str, Any], float]:
    """Return the agent's last report and its age in seconds: the one in memory, else the one on the disk."""
    kept, held = state / STATUS_FILE, VolatileReport(state)
    found = [(report, _age_s(path)) for path in (held.found(), kept) if path is not None and (report := _report(path))]
    if found:
        return max(found, key=lambda each: int(each[0].get("version", 0)))
    if kept.exists():
        raise MachineLacks(f"{kept}: cannot be read as a report; the agent writes it anew within five minutes")
    raise WrongUse(f"{state}: no agent has run here yet; start it with sprat-device run --state {state}")


def _report(path: Path) -> dict[str, Any]:
    """Return a report with all of its fields, empty where none can be read."""
    try:
        told = twin.parse_reported(path.read_bytes())
    except (FileNotFoundError, ContractError):
        return {}
    report: dict[str, Any] = json.loads(told.dump())
    return report


def _age_s(path: Path) -> float:
    return max(0.0, round(time.time() - path.stat().st_mtime, 1))


def _runs(state: Path) -> dict[str, Any]:
    """Return how often the agent began here and how its last finished run ended."""
    try:
        found = json.loads((state / "runs.json").read_bytes())
        return {key: found[key] for key in ("starts", "crashes", "end", "detail")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # of no run yet, or damaged: the agent says so in its log


def _explained(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return an error with its remedy and its times as people write them."""
    told = last_errors.parse(error, "error")
    times = {name: _moment(getattr(told, f"{name}_us")) for name in ("first", "last")}
    return {**asdict(told), **times, "remedy": told.remedy}


def lines(document: Mapping[str, Any]) -> list[str]:
    """Return the report as people read it."""
    report = document["report"]
    state = "runs" if document["running"] else "DOES NOT RUN"
    who = f"{document['device']}: the agent {state}; agent {report['agent']}, channel {report['channel'] or 'unknown'}"
    told = [
        f"{who}, clock {report['clock']}, reported {_ago(document['report_age_s'])}",
        f"  certificate: {_certificate(document['certificate_ends'])}",
    ]
    if document["deferred_s"]:
        told.append(f"  trials are put off for {_span(document['deferred_s'])} more; sprat-device defer 0 ends that")
    for name, model in report["models"].items():
        told += _model(name, model, document["floors"].get(name, 0), runs=document["running"])
    told += [f"  input {name} is NOT read: {why}" for name, why in report.get("facts", {}).get("unfit", {}).items()]
    told += _errors(document)
    told += _ledger(report["ledger"], document["spool_bytes"])
    return told + [f"  runtime {line}" for line in runtimes.lines([Health(**each) for each in document["runtimes"]])]


def _model(name: str, model: Mapping[str, Any], floor: int, *, runs: bool) -> Iterator[str]:
    active, spare, install = model["active"], model["spare"], model["install"]
    if active is None:
        yield f"  {name}: no bundle answers"
    else:
        answers = ("answers" if runs else "answered") if model["running"] == active["bundle"] else _SILENT[runs]
        counts = f"{model['healthy']} predictions, {model['errors']} errors since it was loaded"
        back = f", release {spare['release_seq']} is spare" if spare else ""
        yield f"  {name}: release {active['release_seq']} ({active['bundle'][:12]}) {answers}; {counts}{back}"
    why = f": {install['reason']}, {install['detail']}" if install["reason"] else ""
    if install["phase"] != Phase.IDLE:
        yield f"    last install: release {install['release_seq']} is {install['phase']}{why}; floor {floor}"
    if shadow := model.get("shadow"):
        yield _shadow(shadow)


def _shadow(shadow: Mapping[str, Any]) -> str:
    install = shadow["install"]
    who = f"    shadow: release {install['release_seq']} ({install['bundle'][:12]})"
    if install["phase"] != Phase.CHECKED:
        why = f": {install['reason']}, {install['detail']}" if install["reason"] else ""
        return f"{who} is {install['phase']}{why}"
    detail = f" ({shadow['detail']})" if shadow["detail"] else ""
    agreed = f"; {shadow['agreed']} of {shadow['compared']} answers agree" if shadow["compared"] else ""
    return f"{who} is {shadow['state'] or 'not running'}{detail}{agreed}"


def _errors(document: Mapping[str, Any]) -> Iterator[str]:
    runs = document["runs"]
    if runs.get("end") == End.CRASH:
        yield f"  the last run ended by a defect: {runs['detail']}; the agent's log has more"
    elif runs.get("crashes"):
        yield f"  {runs['crashes']} of {runs['starts']} runs ended by a defect or were killed"
    for part, why in document["report"].get("refused", {}).items():
        yield f"  the hub's wish for {part} is refused: {why}"
    if not document["errors"]:
        yield "  last errors: none"
        return
    yield "  last errors, the newest first:"
    for error in document["errors"]:
        place = f" at {error['at']}" if error["at"] else ""
        often = f"{error['count']} times since {error['first']}, last" if error["count"] > 1 else "once,"
        said = f": {error['detail']}" if error["detail"] else ""
        yield f"    {error['code']}{place}, {often} {error['last']}{said}"
        if error["remedy"]:
            yield f"      {error['remedy']}"


def _moment(at_us: int) -> str:
    """Return a time of the device's clock, in UTC."""
    try:
        return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d %H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return "at a time of a wrong clock"


def _ledger(ledger: Mapping[str, Mapping[str, int]], spool_bytes: int) -> Iterator[str]:
    waiting = sum(lane["spooled"] + lane["open"] for lane in ledger.values())
    yield f"  spool: {spool_bytes / 1024:.0f} KiB on the disk, {waiting} records wait for the hub"
    for name, lane in ledger.items():
        lost = lane["evicted"] + lane["damaged"]
        yield f"    {name}: {', '.join(f'{what} {lane[what]}' for what in _KEPT)}{'  LOST SOME' if lost else ''}"


def _certificate_ends(found: Identity) -> str:
    """Return the day on which the certificate ends, empty where it cannot be read."""
    from sprat_device.board import certificates  # noqa: PLC0415 - the X.509 library is for who asks

    try:
        ends_us = certificates.life_of(found.certificate.read_bytes()).ends_us
    except (OSError, ValueError):
        return ""
    return datetime.fromtimestamp(ends_us / 1e6, UTC).isoformat()


def _certificate(ends: str) -> str:
    if not ends:
        return "CANNOT BE READ; enrol this device again"
    left = datetime.fromisoformat(ends) - datetime.now(UTC)
    if left.total_seconds() <= 0:
        return f"ENDED on {ends[:10]} by this clock; the agent renews it when it next reaches the hub"
    soon = f", in {left.days} days, and was not renewed yet: can the hub be reached?" if left.days < _SOON_DAYS else ""
    return f"good until {ends[:10]}{soon}"


def _ago(seconds: float) -> str:
    return "just now" if seconds < 5 else f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
