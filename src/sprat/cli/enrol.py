"""`sprat enrol`: who may join the fleet."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from sprat.cli.connection import HubOption, age, connect, labels_of
from sprat.cli.output import JsonFlag, Output, QuietFlag, noun

app = noun()


@app.command()
def token(
    model: Annotated[list[str], typer.Option("--model", help="A model that the device may run; may be repeated.")],
    channel: Annotated[str, typer.Option(help="The channel that the device follows.")] = "stable",
    device: Annotated[str, typer.Option(help="The id that it gets; without it the device may ask for one.")] = "",
    label: Annotated[list[str] | None, typer.Option("--label", help="name=value; may be repeated.")] = None,
    minutes: Annotated[float, typer.Option(min=0.1, max=30 * 24 * 60, help="How long the token is good.")] = 60.0,
    hub: HubOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make a one-time token, and the line that a fresh board joins with.

    Example: sprat enrol token --device kitchen --channel canary --model digits
    """
    with connect(hub) as client:
        made = client.make_token(
            model, channel=channel, device=device, labels=labels_of(label), ttl_s=max(1, round(minutes * 60))
        )
    _tell(Output(json, quiet), made, minutes)


@app.command()
def replace(
    device: str,
    minutes: Annotated[float, typer.Option(min=0.1, max=30 * 24 * 60, help="How long the token is good.")] = 60.0,
    hub: HubOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Give a lost or broken board's id to another board.

    The old board is put out of the fleet at once; the token is bound to its id, with its channel, models and labels.

    Example: sprat enrol replace kitchen
    """
    with connect(hub) as client:
        old = client.device(device)
        if not old["revoked_us"]:
            client.revoke(device)
        made = client.make_token(
            old["models"], channel=old["channel"], device=device, labels=old["labels"],
            ttl_s=max(1, round(minutes * 60)),
        )  # fmt: skip
    _tell(Output(json, quiet), made, minutes)


@app.command("list")
def list_(hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Tell which tokens were made, and which devices used them.

    Example: sprat enrol list
    """
    with connect(hub) as client:
        found = client.tokens()
    out, now_us = Output(json, quiet), time.time_ns() // 1000
    if json:
        out.emit_json(found)
    out.table(
        ("made", "by", "for", "channel", "models", "used by"),
        [
            (age(t["made_us"], now_us), t["made_by"], t["device"] or "any", t["channel"], " ".join(t["models"]),
             t["used_by"] or ("expired" if t["expires_us"] < now_us else "-"))
            for t in found
        ],
    )  # fmt: skip


@app.command()
def revoke(device: str, hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Put a device out of the fleet, at once.

    Its id may be given to another board afterwards.

    Example: sprat enrol revoke kitchen
    """
    with connect(hub) as client:
        client.revoke(device)
    Output(json, quiet).result({"device": device, "revoked": True}, f"{device} is out of the fleet")


def _tell(out: Output, made: dict[str, Any], minutes: float) -> None:
    """Tell the token, and the line that brings a fresh board into the fleet with it."""
    out.say(
        f"good once, for {minutes:g} minutes; devices reach this hub at {made['hub'] or 'no address: it does not run'}"
    )
    if made["setup"]:
        out.say(f"on a fresh board, as one line:\n\n{made['setup']}\n")
    elif made["setup_offline"]:
        out.say(
            "this hub has no wheelhouse yet (sprat wheelhouse --target NAME --out HUB/wheelhouses); "
            f"from a stick:\n\n{made['setup_offline']}\n"
        )
    out.say(f"where the agent is installed: sprat-device enrol --hub {made['hub'] or 'DEVICE_URL'} --token …")
    out.result(made, made["token"])
