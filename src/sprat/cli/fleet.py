"""`sprat fleet`: devices and their twins."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from sprat.cli.connection import HubOption, age, connect, labels_of
from sprat.cli.output import JsonFlag, Output, QuietFlag, noun
from sprat.errors import Refused, WrongUse
from sprat_device.contract import last_errors

app = noun()
_ANSWERS_S: Final = 5.0

LabelOption = Annotated[list[str] | None, typer.Option("--label", help="name=value; may be repeated.")]


@app.command("list")
def list_(
    label: LabelOption = None,
    online: Annotated[bool | None, typer.Option("--online/--offline", help="Only those.")] = None,
    revoked: Annotated[bool, typer.Option("--revoked", help="Revoked ones too.")] = False,
    hub: HubOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Tell who is in the fleet and what runs there.

    Example: sprat fleet list --label room=kitchen
    """
    with connect(hub) as client:
        found = client.devices(labels=labels_of(label), online=online, revoked=revoked)
    out, now_us = Output(json, quiet), time.time_ns() // 1000
    if json:
        out.emit_json(found)
    out.table(
        ("device", "state", "seen", "channel", "running", "labels"),
        [
            (d["id"], _state(d), age(d["seen_us"], now_us), d["channel"], _running(d), _labels(d["labels"]))
            for d in found
        ],
    )  # fmt: skip


@app.command()
def show(device: str, hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Tell everything of one device.

    Example: sprat fleet show kitchen --json
    """
    with connect(hub) as client:
        found = client.device(device)
    now_us = time.time_ns() // 1000
    lines = [
        f"{found['id']}: {_state(found)}, seen {age(found['seen_us'], now_us)}",
        f"  channel {found['channel']}, labels {_labels(found['labels']) or '-'}",
    ]
    reported = found["reported"] or {}
    for model, told in reported.get("models", {}).items():
        install = told["install"]
        reason = f" ({install['reason']}: {install['detail']})" if install["reason"] else ""
        lines.append(f"  {model}: {_slot(told)}; last offer {install['release_seq']} {install['phase']}{reason}")
    for lane, kept in reported.get("ledger", {}).items():
        lines.append(f"  {lane}: " + ", ".join(f"{name} {kept[name]}" for name in kept if name != "epoch"))
    lines += [f"  the wish for {part} is refused: {why}" for part, why in reported.get("refused", {}).items()]
    lines += _errors(reported.get("errors", ()), now_us)
    Output(json, quiet).result(found, *lines)


@app.command()
def label(
    device: str,
    labels: Annotated[list[str], typer.Argument(metavar="NAME=VALUE…", help="NAME= removes a label.")],
    hub: HubOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Set or remove labels of a device.

    Example: sprat fleet label kitchen room=kitchen target=pi-zero-2w
    """
    with connect(hub) as client:
        merged = client.device(device)["labels"] | labels_of(labels)
        after = client.set_labels(device, {name: value for name, value in merged.items() if value})
    Output(json, quiet).result(after, f"{device}: {_labels(after) or 'no labels'}")


@app.command("set")
def set_(
    device: str,
    detail: Annotated[str | None, typer.Option(help="Telemetry: full, sampled or summary.")] = None,
    daily_bytes: Annotated[
        int | None, typer.Option(min=0, help="Most bytes of telemetry a day; 0 is no limit.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "",
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="MODEL[/NAME]=on|off, where the device allows it; may be repeated."),
    ] = None,
    hub: HubOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Tune a device through its desired twin.

    What is left out goes back to the device's own setting. A device that is online is waited for, for some seconds; what
    it refuses is told with the remedy, exit code 1.

    Example: sprat fleet set kitchen --detail summary
    """
    switched = dict(map(_switch, inputs or []))
    with connect(hub) as client:
        after = client.set_settings(
            device, detail=detail, daily_bytes=daily_bytes, log_level=log_level, inputs=switched
        )
        told = client.await_applied(device, after, timeout_s=_ANSWERS_S)
    asked = {name for name, given in (("inputs", switched), ("log_level", log_level)) if given}
    refused = {part: why for part, why in (told or {}).get("refused", {}).items() if part in asked}
    when = "applied" if told else "the device has not answered yet; it follows when it is connected"
    Output(json, quiet).result(
        {**after, "applied": told is not None, "refused": refused},
        *([] if refused else [f"{device}: desired version {after['version']}, {when}"]),
    )
    if refused:
        raise Refused("refused-by-device", "; ".join(f"{device}: {part}: {why}" for part, why in refused.items()))


def _switch(given: str) -> tuple[str, str]:
    """Read one `model=off` or `model/name=on`."""
    name, _, mode = given.partition("=")
    if not name or mode not in {"on", "off"}:
        raise WrongUse(f"input {given!r}: expected MODEL=on, MODEL=off or MODEL/NAME=off")
    return name, mode


@app.command()
def hours(
    device: str,
    window: Annotated[list[str] | None, typer.Option(help="'mon-fri 02:00-05:00'; may be repeated.")] = None,
    blackout: Annotated[
        list[str] | None, typer.Option(help="'2026-12-24T00:00/2026-12-27T00:00'; may be repeated.")
    ] = None,
    utc_offset: Annotated[str, typer.Option(help="Of these times, as +01:00.")] = "+00:00",
    defer_until: Annotated[str, typer.Option(help="Nothing before, as 2026-12-01T06:00.")] = "",
    hub: HubOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Ask a device to begin trials of new bundles only in some hours.

    It asks its own settings too. Without options any hour is right again.

    Example: sprat fleet hours kitchen --window "mon-fri 02:00-05:00" --utc-offset +01:00
    """
    with connect(hub) as client:
        after = client.set_maintenance(
            device, windows=window or (), blackouts=blackout or (), utc_offset=utc_offset, defer_until=defer_until
        )
    asked = after["maintenance"]
    said = "; ".join([*asked.get("windows", ()), *(f"not {one}" for one in asked.get("blackouts", ()))])
    Output(json, quiet).result(after, f"{device}: {said or 'no window'}, desired version {after['version']}")


def _errors(errors: Iterable[Mapping[str, Any]], now_us: int) -> Iterator[str]:
    """Write the device's last errors with their remedies; times are of the device's clock."""
    for at, told in enumerate(errors):
        if not at:
            yield "  last errors, the newest first:"
        error = last_errors.parse(told, "error")
        place, said = f" at {error.at}" if error.at else "", f": {error.detail}" if error.detail else ""
        often = f"{error.count} times, last" if error.count > 1 else "once,"
        yield f"    {error.code}{place}, {often} {age(error.last_us, now_us)}{said}"
        if error.remedy:
            yield f"      {error.remedy}"


def _state(device: dict[str, Any]) -> str:
    if device["revoked_us"]:
        return "revoked"
    return "online" if device["online"] else "offline"


def _running(device: dict[str, Any]) -> str:
    models = (device["reported"] or {}).get("models", {})
    return " ".join(f"{model}@{_slot(told)}" for model, told in models.items()) or "-"


def _slot(told: dict[str, Any]) -> str:
    slots = [slot for slot in (told["active"], told["spare"]) if slot and slot["bundle"] == told["running"]]
    return f"{slots[0]['release_seq']} ({told['running'][:12]})" if slots else "nothing"


def _labels(labels: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))
