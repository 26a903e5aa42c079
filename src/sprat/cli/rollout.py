"""`sprat rollout`: deliver a release in waves, with gates."""

from __future__ import annotations

import time
from collections import Counter
from typing import Annotated, Any, Final

import typer

from sprat.cli.connection import HubOption, age, connect, labels_of
from sprat.cli.output import JsonFlag, Output, QuietFlag, noun
from sprat.errors import GateFailed, WrongUse

app = noun()

Release = Annotated[str, typer.Argument(metavar="MODEL@SEQ", help="The release, such as digits@3.")]
Channel = Annotated[str, typer.Option(help="The channel that lists it.")]
Waves = Annotated[
    list[str] | None,
    typer.Option("--wave", help="10% (of the cohort, cumulative), 5 (further devices) or a,b (named). Default: 100%."),
]
Devices = Annotated[list[str] | None, typer.Option("--device", help="Only this device; may be repeated.")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="Only devices with name=value; may be repeated.")]
Rollout = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Its id, as `sprat rollout list` shows it.")]
_ENDED: Final = frozenset({"completed", "aborted", "paused"})
_LOOK_S: Final = 1.0


@app.command()
def plan(
    release: Release, channel: Channel, wave: Waves = None, device: Devices = None, label: Labels = None,
    hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False,
) -> None:  # fmt: skip
    """Tell which devices a rollout would reach, and in which wave.

    Example: sprat rollout plan digits@3 --channel canary --wave 10% --wave 100%
    """
    with connect(hub) as client:
        found = client.plan_rollout(_spec(release, channel, wave, device, label))
    out = Output(json, quiet)
    if json:
        out.emit_json(found)
    out.table(
        ("device", "wave", "fits", "bundle or reason"),
        [
            (p["device"], p["wave"] + 1, "yes" if p["fits"] else "no",
             f"{p['target']} {p['bundle'][:12]}" if p["fits"] else f"{p['reason']}: {p['detail']}")
            for p in found
        ],
    )  # fmt: skip


@app.command()
def start(
    release: Release,
    channel: Channel,
    wave: Waves = None,
    device: Devices = None,
    label: Labels = None,
    healthy: Annotated[int, typer.Option(min=1, help="Healthy predictions stored here before a device counts.")] = 50,
    max_failed: Annotated[float, typer.Option(min=0, max=1, help="Share of failed devices that stops it.")] = 0.0,
    max_errors: Annotated[float, typer.Option(min=0, max=1, help="Share of failed predictions that stops it.")] = 0.05,
    max_p95_ratio: Annotated[float, typer.Option(min=0, help="p95 latency against before; 0 leaves it out.")] = 0.0,
    deadline: Annotated[int, typer.Option(min=1, help="Seconds that a wave may take.")] = 86_400,
    on_failure: Annotated[str, typer.Option(help="pause or abort.")] = "pause",
    urgent: Annotated[bool, typer.Option("--urgent", help="Do not wait for the hub's maintenance windows.")] = False,
    hub: HubOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Start a rollout.

    Example: sprat rollout start digits@3 --channel canary --wave 1 --wave 100% --on-failure abort
    """
    gates = {
        "healthy_predictions": healthy, "max_failed_share": max_failed, "max_error_share": max_errors,
        "max_p95_ratio": max_p95_ratio,
    }  # fmt: skip
    spec = _spec(release, channel, wave, device, label)
    with connect(hub) as client:
        draft = client.create_rollout(
            spec | {"gates": gates, "deadline_s": deadline, "on_failure": on_failure, "urgent": urgent}
        )
        started = client.act_on_rollout(draft["id"], "start")
    Output(json, quiet).result(started, f"{started['id']}: {started['phase']}, {len(started['devices'])} devices")


@app.command("list")
def list_(hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Tell every rollout, the newest first.

    Example: sprat rollout list
    """
    with connect(hub) as client:
        found = client.rollouts()
    out, now_us = Output(json, quiet), time.time_ns() // 1000
    if json:
        out.emit_json(found)
    out.table(
        ("rollout", "phase", "wave", "devices", "created", "reason"),
        [
            (r["id"], r["phase"], r["wave"] + 1, len(r["devices"]), age(r["created_us"], now_us), r["reason"])
            for r in found
        ],
    )  # fmt: skip


@app.command()
def show(rollout: Rollout, hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Tell a rollout's devices, gates and what happened.

    Example: sprat rollout show digits-3-a1b2c3
    """
    with connect(hub) as client:
        found = client.rollout(rollout)
    out = Output(json, quiet)
    out.result(found, _headline(found))
    out.table(
        ("device", "wave", "status", "healthy", "errors", "reason"),
        [
            (d["device"], d["wave"] + 1, d["status"], d["healthy"], d["errors"], f"{d['reason']} {d['detail']}".strip())
            for d in found["devices"]
        ],
    )  # fmt: skip


@app.command()
def watch(rollout: Rollout, hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Follow a rollout to its end or a pause.

    The exit code is 1 unless it completed and at least one device is done.

    Example: sprat rollout watch digits-3-a1b2c3
    """
    out, before = Output(json, quiet), ""
    with connect(hub) as client:
        while True:
            found = client.rollout(rollout)
            line = _headline(found)
            if line != before:
                out.say(line)
            if found["phase"] in _ENDED:
                break
            before = line
            time.sleep(_LOOK_S)
    if json:
        out.emit_json(found)
    _require_success(found)


@app.command()
def pause(rollout: Rollout, hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Stop a rollout where it is.

    Example: sprat rollout pause digits-3-a1b2c3
    """
    _act(rollout, "pause", hub, Output(json, quiet))


@app.command()
def resume(rollout: Rollout, hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Go on with a paused rollout, accepting what had stopped it.

    Example: sprat rollout resume digits-3-a1b2c3
    """
    _act(rollout, "resume", hub, Output(json, quiet))


@app.command()
def abort(rollout: Rollout, hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """End a rollout; devices that are not done keep what they run.

    Example: sprat rollout abort digits-3-a1b2c3
    """
    _act(rollout, "abort", hub, Output(json, quiet))


def _act(rollout: str, action: str, hub: str | None, out: Output) -> None:
    with connect(hub) as client:
        after = client.act_on_rollout(rollout, action)
    out.result(after, _headline(after))


def _require_success(found: dict[str, Any]) -> None:
    """Raise GateFailed where a rollout at its end brought no device its release."""
    if found["phase"] != "completed":
        raise GateFailed(found["phase"], f"rollout {found['id']}: {found['reason'] or 'by an operator'}")
    states = Counter(device["status"] for device in found["devices"])
    if not states["done"]:
        counted = ", ".join(f"{count} {status}" for status, count in sorted(states.items())) or "it reached none"
        raise GateFailed(
            "no-device-done",
            f"rollout {found['id']}: completed, and no device is done ({counted}); "
            f"`sprat rollout show {found['id']}` tells why",
        )


def _headline(found: dict[str, Any]) -> str:
    states = Counter(device["status"] for device in found["devices"])
    others = "".join(f", {states[one]} {one}" for one in ("failed", "unfit") if states[one])
    reason = f" ({found['reason']})" if found["reason"] else ""
    waves = len(found["spec"]["waves"])
    return (
        f"{found['id']}: {found['phase']}{reason}, wave {found['wave'] + 1} of {waves}, "
        f"{states['done']} of {len(found['devices'])} devices done{others}"
    )


def _spec(
    release: str, channel: str, waves: list[str] | None, devices: list[str] | None, labels: list[str] | None
) -> dict[str, Any]:  # fmt: skip
    model, mark, number = release.partition("@")
    if not mark or not number.isdigit():
        raise WrongUse(f"release {release!r}: expected MODEL@SEQ, such as digits@3")
    if devices and labels:
        raise WrongUse("give --device or --label, not both")
    cohort: dict[str, Any] = {"all": True}
    if devices:
        cohort = {"devices": devices}
    elif labels:
        cohort = {"labels": labels_of(labels)}
    return {
        "model": model, "release_seq": int(number), "channel": channel, "cohort": cohort,
        "waves": [_wave(text) for text in waves or ["100%"]],
    }  # fmt: skip


def _wave(text: str) -> dict[str, Any]:
    if text.endswith("%"):
        try:
            return {"percent": float(text[:-1])}
        except ValueError as exc:
            raise WrongUse(f"wave {text!r}: expected a percentage such as 10%") from exc
    return {"count": int(text)} if text.isdigit() else {"devices": text.split(",")}
