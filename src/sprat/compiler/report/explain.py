"""Why each other candidate lost, in sentences for people; made from what a run keeps, so old runs can be explained too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sprat.compiler.spec.gates import GateCode

_MEANING: Final[Mapping[str, str]] = {
    GateCode.CONVERSION_FAILED: "could not be converted",
    GateCode.CONVERSION_TIMEOUT: "took too long to convert",
    GateCode.CONVERSION_MEMORY: "took too much memory to convert",
    GateCode.NO_OP: "changes nothing",
    GateCode.NOT_NEEDED: "has nothing to do",
    GateCode.NOT_RUN: "could not be run",
    GateCode.NON_FINITE: "gave answers that are not finite numbers",
    GateCode.PARITY: "does not answer as the research model does",
    GateCode.METRIC_DROP: "loses more of the metric than the recipe allows",
    GateCode.AGREEMENT: "agrees with the research model on too few rows",
    GateCode.RECALL_DROP: "loses too much of one class",
    GateCode.NOT_SMALLER: "is quantized and yet no smaller than the plain artifact",
    GateCode.OVER_FLASH: "does not fit the target's storage",
    GateCode.OVER_RAM: "does not fit the target's memory",
    GateCode.OVER_LATENCY: "is too slow",
    GateCode.OUTRANKED: "passed every gate, but another one is better",
}
_REMEDY: Final[Mapping[str, str]] = {
    GateCode.CONVERSION_FAILED: "leave the scheme out of the recipe's `schemes`, or change the layer that it names",
    GateCode.CONVERSION_TIMEOUT: "raise the setting conversion_timeout_s, or make the model smaller",
    GateCode.CONVERSION_MEMORY: "raise the setting conversion_memory_mb, or make the model smaller",
    GateCode.NOT_RUN: "see `sprat runtimes list`, and add the runtime that is missing",
    GateCode.NON_FINITE: "look for a division, a log or an overflow in the model; scale its inputs inside it",
    GateCode.PARITY: "change the step that the conversion breaks (no gate should be moved for it)",
    GateCode.METRIC_DROP: "bring more calibration rows, train longer, or raise gates.max_drop if the loss is acceptable",
    GateCode.AGREEMENT: "lower gates.min_agreement if other answers of the same quality are acceptable",
    GateCode.RECALL_DROP: "bring more rows of the rare class, or raise gates.max_recall_drop",
    GateCode.OVER_FLASH: "make the model smaller, take fewer golden rows (golden.count), or raise bundle_kib if the device has the room",
    GateCode.OVER_RAM: "make the model or its input smaller, or raise the target's memory_kib",
    GateCode.OVER_LATENCY: "make the model smaller, or raise gates.max_latency_us",
}
_OF_MODELS: Final[Mapping[str, str]] = {
    GateCode.YARDSTICK: "train longer or with another model, look for inputs that tell more, and check the labels; a "
    "model that does not earn its size is not worth a device's storage",
    GateCode.MIN_METRIC: "train longer, bring more rows, or lower gates.min_metric if this is good enough",
    GateCode.NON_FINITE: "look for a division, a log or an overflow in the model or a learning rate that is too high",
}
"""What to change where the model itself was stopped."""
_BUDGETS: Final = frozenset({GateCode.OVER_FLASH, GateCode.OVER_RAM, GateCode.OVER_LATENCY})


def sentences(document: Mapping[str, Any]) -> list[str]:
    """Return one sentence for what was chosen of each target, then one for each candidate that lost there."""
    if document.get("stopped"):
        return [stopped(document["stopped"])]
    rows: Sequence[Mapping[str, Any]] = document["candidates"]
    metric = str(document["metric_name"])
    targets = list(dict.fromkeys(str(row["target"]) for row in rows))
    said: list[str] = []
    for target in targets:
        mine = [row for row in rows if row["target"] == target]
        best = next((row for row in mine if row["chosen"]), None)
        said.append(_chosen(best, target, metric) if best else f"{target}: no candidate fits. {what_to_change(mine)}")
        prefix = f"{target}: " if len(targets) > 1 else ""
        said += [prefix + _lost(row, best, metric) for row in mine if not row["chosen"]]
    return said


def stopped(reason: str) -> str:
    """Return why a build ended before any candidate was made (`code: sentence`), and what would let it go on."""
    code = reason.split(":", 1)[0]
    remedy = f" To change: {_OF_MODELS[code]}." if code in _OF_MODELS else ""
    return f"Stopped before any candidate was made: {reason}.{remedy}"


def what_to_change(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what would let a candidate through: the remedies of the gates that stopped them, each once.

    Where some answer rightly and only miss a budget, nothing else has to change.
    """
    codes = list(dict.fromkeys(str(row["reason"]).split(":", 1)[0] for row in rows))
    codes = [code for code in codes if code in _BUDGETS] or codes
    found = [_REMEDY[code] for code in codes if code in _REMEDY]
    return f"To change: {'; or '.join(found)}." if found else ""


def figure(value: float | None) -> str:
    """Return a metric as people read it; `-` where there is none."""
    return "-" if value is None else f"{value:.4f}"


def plain(value: object) -> str:
    """Return a value of the facts as people write it, not as Python does."""
    match value:
        case Mapping():
            return ", ".join(f"{key} {plain(one)}" for key, one in value.items()) or "none"
        case list() | tuple():
            return ", ".join(map(plain, value)) or "none"
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)


def _chosen(row: Mapping[str, Any], target: str, metric: str) -> str:
    return (
        f"{target}: {row['scheme']} was chosen: {row['size']:,} bytes, {metric} {row['metric']:.4f}, p50 "
        f"{row['latency_us']:,.1f} us, passed on {', '.join(row['runtimes'])}."
    )


def _lost(row: Mapping[str, Any], best: Mapping[str, Any] | None, metric: str) -> str:
    code, _, detail = str(row["reason"]).partition(": ")
    text = f"{row['scheme']} {_MEANING.get(code, code)}: {detail or 'no more is known'}."
    if code == GateCode.OUTRANKED and best is not None:
        text += _traded(row, best, metric)
    elif code in _REMEDY:
        text += f" To change: {_REMEDY[code]}."
    if row["on_front"]:
        text += " It is on the Pareto front: another order of `prefer` may choose it."
    return text


def _traded(row: Mapping[str, Any], best: Mapping[str, Any], metric: str) -> str:
    """Say what the loser would have given and cost beside the chosen one."""
    if not best["size"] or not best["latency_us"]:
        return ""
    return (
        f" Beside {best['scheme']} it has {row['size'] / best['size']:.2f} times the bytes, "
        f"{row['latency_us'] / best['latency_us']:.2f} times the p50 latency and {metric} "
        f"{row['metric']:.4f} instead of {best['metric']:.4f}."
    )
