"""The chapters of the story, a to g; each does one thing as a user would and shows what came of it."""

from __future__ import annotations

import secrets
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from sprat.hub.store.rollout_values import MemberStatus
from sprat.lab.parts import RATE_HZ, LabDevice, LabHub, wait_for
from sprat.lab.stage import Stage
from sprat_device.contract.phases import InstallPhase, Reason, RolloutPhase

MODEL: Final = "digits"
TARGET: Final = "generic-x86_64"
CHANNEL: Final = "canary"
LOST_S: Final = 8.0
_INSTALLING: Final = (InstallPhase.FETCHING, InstallPhase.STAGED, InstallPhase.CHECKED, InstallPhase.TRIAL)


def passphrase() -> str:
    """Return a passphrase for keys that live as long as the story."""
    return secrets.token_urlsafe(24)


def build(on: Stage) -> None:
    """Train, quantize and gate; keep what the build counted on each runtime."""
    _build(on, "first")


def start_hub(on: Stage) -> None:
    """Make a hub and run it."""
    on.hub = LabHub.start(on.shell, on.folder / "hub", console_port=on.console_port)
    on.shell.env.update(SPRAT_HUB=on.hub.run["console_url"], SPRAT_TOKEN=on.hub.token)
    on.say(f"console: {on.hub.run['console_url']}")
    broker = on.hub.client.status()["broker"]
    if broker.get("warning"):
        on.say(f"warning: {broker['warning']}")
    on.show_that("broker", broker["kind"], expected="mosquitto, or iotcore where there is none", ok=broker["alive"])


def sign(on: Stage) -> None:
    """Make keys of a small fleet and publish the first release."""
    on.shell.sprat("keys", "init", "--simple")
    release = _release(on, "first")
    on.show("first release", release["release_seq"], expected=1)


def install(on: Stage) -> None:
    """Enrol three agents, roll the release out to them and compare their answers with the build's own count."""
    for name in on.names:
        on.devices.append(_enrol(on, name))
    for device in on.devices:
        device.start()
    rollout = _start_rollout(on, release_seq=1, waves=["100%"])
    _wait_rollout(on, rollout, RolloutPhase.COMPLETED)
    for device in on.devices:
        report = _report(on, device)
        runtime = report["facts"]["running"][MODEL]
        counted = on.builds["first"]["measured"]["runtimes"][runtime]
        right = _count_right(on, device, total=counted["total"])
        on.show(f"{device.name} right of {counted['total']} on {runtime}", right, expected=counted["correct"])
        running = report["models"][MODEL]["running"]
        on.show(f"{device.name} runs the released bundle", running[:12], expected=on.builds["first"]["sha256"][:12])


def lose_link(on: Stage) -> None:
    """Cut one device's links for some seconds; it goes on, and afterwards nothing is lost and nothing doubled."""
    device = on.devices[-1]
    on.say(f"{device.name}: link cut for {LOST_S:.0f} s")
    for link in device.links:
        link.cut()
    cut_us = time.time_ns() // 1000
    time.sleep(LOST_S)
    before_return = len(_predictions(on, device))
    back_us = time.time_ns() // 1000
    for link in device.links:
        link.restore()
    on.say(f"{device.name}: link restored; {before_return} predictions are at the hub, the backlog comes in")

    def whole() -> list[dict[str, Any]] | None:
        rows = _predictions(on, device)
        gapless = len({row["index"] for row in rows}) == rows[-1]["index"] + 1  # what is live came before the backlog
        return rows if gapless and rows[-1]["wall_us"] > back_us else None

    rows = wait_for(f"backlog of {device.name}", whole, timeout_s=60)
    alone = sum(cut_us <= row["wall_us"] < back_us for row in rows)
    least = int(0.9 * RATE_HZ * LOST_S)
    on.show_that("predictions that it made without a link", alone, expected=f">= {least}", ok=alone >= least)
    _show_whole(on, device)


def forge(on: Stage) -> None:
    """Flip one bit of a signed bundle where the hub keeps it; devices refuse it and say why."""
    _build(on, "second", "--set", "train.seed=2", "--set", "train.epochs=14")
    release = _release(on, "second")
    stored = next((on.fleet().folder / "repository" / "targets").rglob(f"{on.builds['second']['sha256']}.*"))
    pristine = stored.read_bytes()
    stored.write_bytes(_flipped(pristine))
    rollout = _start_rollout(on, release_seq=release["release_seq"], waves=["100%"], on_failure="abort")
    _wait_rollout(on, rollout, RolloutPhase.ABORTED)
    # The first refusal aborts, while another device may still be fetching: it must not find the true bytes after all.
    models = wait_for("devices to end their installs", lambda: _settled_models(on), timeout_s=60)
    stored.write_bytes(pristine)
    # The rollout stops at the first failure, and takes back what has come to nothing yet: how many devices have judged
    # the release by then is chance.
    offered = {
        name: m["install"] for name, m in models.items()
        if m["install"]["release_seq"] == release["release_seq"] and m["install"]["reason"] != Reason.CANCELLED
    }  # fmt: skip
    on.show_that("devices that refused the forged bundle", len(offered), expected=">= 1", ok=len(offered) >= 1)
    for name, install_ in offered.items():
        on.show(f"{name} on the forged bundle", install_["phase"], expected=str(InstallPhase.REFUSED))
        on.show(f"{name} says why", install_["reason"], expected=str(Reason.HASH_MISMATCH))
    for name, model in models.items():
        on.show(
            f"{name} still runs the first release", model["running"][:12], expected=on.builds["first"]["sha256"][:12]
        )


def _settled_models(on: Stage) -> dict[str, dict[str, Any]] | None:
    """Return what each device reports of the model, or None while one has not read its twin or still installs."""
    shown = {device.name: on.fleet().client.device(device.name) for device in on.devices}
    models = {name: one["reported"]["models"][MODEL] for name, one in shown.items()}
    read = all(one["reported"]["applied_version"] == one["desired"]["version"] for one in shown.values())
    return models if read and not any(model["install"]["phase"] in _INSTALLING for model in models.values()) else None


def replace(on: Stage) -> None:
    """Release the retrained model under a number of its own; it takes over without a gap in the stream."""
    release = _release(on, "second")
    rollout = _start_rollout(on, release_seq=release["release_seq"], waves=["1", "100%"])
    _wait_rollout(on, rollout, RolloutPhase.COMPLETED)
    new = on.builds["second"]["sha256"]
    for device in on.devices:
        rows = _predictions(on, device)
        swaps = [(a, b) for a, b in pairwise(rows) if a["bundle"] != b["bundle"]]
        on.show(f"{device.name} swaps seen in its stream", len(swaps), expected=1)
        last, first = swaps[-1]
        on.show(f"{device.name} index across the swap", first["index"] - last["index"], expected=1)
        on.show(f"{device.name} runs the second release", first["bundle"][:12], expected=new[:12])
    shown = on.fleet().client.rollout(rollout)
    counted = [d for d in shown["devices"] if d["status"] == MemberStatus.DONE]
    least = min(d["healthy"] for d in counted)
    wanted = shown["spec"]["gates"]["healthy_predictions"]
    on.show("devices that the hub counts", len(counted), expected=len(on.devices))
    on.show_that("healthy predictions behind each of them", least, expected=f">= {wanted}", ok=least >= wanted)
    for device in on.devices:
        _show_whole(on, device)


def _build(on: Stage, name: str, *settings: str) -> None:
    out = on.folder / "build" / name
    built = on.shell.sprat("build", str(on.models / MODEL), "--target", TARGET, "--out", str(out), *settings)
    bundle = built["bundles"][0]
    on.builds[name] = bundle
    for runtime, counted in bundle["measured"]["runtimes"].items():
        on.say(
            f"{name}: {bundle['scheme']}, {bundle['size']} bytes; {counted['correct']} of {counted['total']} right on {runtime}"
        )
    schemes = {c["scheme"] for c in built["candidates"]}
    wanted = {"float32", "float16", "int8"}
    on.show_that(
        f"{name} build: candidates", len(schemes), expected="float32, float16 and int8 among them", ok=wanted <= schemes
    )


def _release(on: Stage, name: str) -> dict[str, Any]:
    bundle = on.builds[name]["path"]
    released: dict[str, Any] = on.shell.sprat("release", bundle, "--channel", CHANNEL)["releases"][0]
    return released


def _enrol(on: Stage, name: str) -> LabDevice:
    answer = on.shell.sprat("enrol", "token", "--device", name, "--channel", CHANNEL, "--model", MODEL)
    # The third device runs on the workstation's LiteRT, the others on tflite-runtime where that has an environment.
    own = on.device_python if name not in on.names[2:] else None
    python = own or Path(sys.executable)
    stream = Path(on.builds["first"]["test_set"])
    return LabDevice.enrol(
        on.shell, on.fleet(), name, python=python, token=answer["token"], stream=stream, rate_hz=on.rate_hz
    )


def _start_rollout(on: Stage, *, release_seq: int, waves: list[str], on_failure: str = "pause") -> str:
    options = [part for wave in waves for part in ("--wave", wave)]
    release = f"{MODEL}@{release_seq}"
    started = on.shell.sprat(
        "rollout", "start", release, "--channel", CHANNEL, *options, "--on-failure", on_failure,
        "--healthy", "60", "--deadline", "120",     )  # fmt: skip
    return str(started["id"])


def _wait_rollout(on: Stage, rollout: str, phase: RolloutPhase) -> None:
    ended = (RolloutPhase.COMPLETED, RolloutPhase.ABORTED, RolloutPhase.PAUSED)

    def done() -> str | None:
        for device in on.devices:
            device.require_alive()
        found = on.fleet().client.rollout(rollout)["phase"]
        return found if found in ended else None

    on.show(f"rollout {rollout}", wait_for(f"rollout {rollout}", done, timeout_s=180), expected=str(phase))


def _report(on: Stage, device: LabDevice) -> dict[str, Any]:
    found: dict[str, Any] = on.fleet().client.device(device.name)["reported"]
    return found


def _predictions(on: Stage, device: LabDevice) -> list[dict[str, Any]]:
    return sorted(on.fleet().client.predictions(device.name, MODEL), key=lambda row: row["index"])


def _count_right(on: Stage, device: LabDevice, *, total: int) -> int:
    """Count the first pass over the test set as the hub stored it, against the labels of the set."""

    def whole() -> list[dict[str, Any]] | None:
        rows = _predictions(on, device)[:total]
        return rows if len(rows) == total and rows[-1]["index"] == total - 1 else None

    rows = wait_for(f"first {total} predictions of {device.name}", whole, timeout_s=60)
    with np.load(on.builds["first"]["test_set"]) as test:
        labels = test["labels"]
    return sum(int(row["label"]) == int(labels[row["index"]]) for row in rows)


def _show_whole(on: Stage, device: LabDevice) -> None:
    """Show that the hub's ledger of a device balances and that its running index has no gap and no double."""

    def settled() -> dict[str, Any] | None:
        lanes = on.fleet().client.ledger(device.name)
        return lanes if all(lane["missing"] == 0 for lane in lanes.values()) else None

    lanes = wait_for(f"ledger of {device.name}", settled, timeout_s=60)
    lost = sum(lane["missing"] + lane["evicted"] + lane["damaged"] for lane in lanes.values())
    on.show(f"{device.name} records lost", lost, expected=0)
    times = Counter(row["index"] for row in _predictions(on, device))
    on.show(f"{device.name} predictions doubled", sum(n - 1 for n in times.values()), expected=0)
    on.show(f"{device.name} gaps in its running index", max(times) + 1 - len(times), expected=0)


def _flipped(bundle: bytes) -> bytes:
    middle = len(bundle) // 2
    return bundle[:middle] + bytes([bundle[middle] ^ 0x10]) + bundle[middle + 1 :]
