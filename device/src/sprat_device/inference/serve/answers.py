"""From the loop's replies to a response: JSON, or the raw numbers for a client that asks for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from sprat_device.contract.manifest import Manifest
from sprat_device.contract.phases import Reason
from sprat_device.contract.records import NO_LABEL
from sprat_device.inference.answers import Answer, gives_scores
from sprat_device.inference.explaining import explain
from sprat_device.inference.serve.bodies import RAW
from sprat_device.inference.serve.exchange import Row, Rows, Shown
from sprat_device.inference.serve.wire import JSON, Refusal, Request, Response
from sprat_device.inference.sources.reading import Reply

_RUN: Final = frozenset({Reason.RUN_FAILED, Reason.NON_FINITE})
"""These say something of the model, not of what the client sent."""


def document(status: int, content: object, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response, one line long."""
    return Response(status, json.dumps(content).encode() + b"\n", JSON, headers or {})


def refusal(exc: Refusal) -> Response:
    """Return the response to a request that was refused."""
    return document(exc.status, _error(exc.reason, str(exc)), exc.headers)


def rendering(request: Request, asked: Rows, shown: Shown) -> Callable[[Sequence[Reply]], Response]:
    """Return what makes a response of the replies to a request, in the form that it asked for."""
    raw = RAW in request.head.headers.get("accept", "")

    def render(replies: Sequence[Reply]) -> Response:
        bad = next((place for place, reply in enumerate(replies) if reply.answer is None), None)
        if bad is not None and (raw or all(reply.answer is None for reply in replies)):
            return _failed(replies[bad], asked.rows[bad], shown.manifest)
        return _raw(replies) if raw else _json(replies, asked, shown)

    return render


def _json(replies: Sequence[Reply], asked: Rows, shown: Shown) -> Response:
    manifest = shown.manifest
    head: dict[str, Any] = {
        "model": manifest.model, "bundle": replies[0].bundle, "release_seq": replies[0].release_seq
    }  # fmt: skip
    told = [_prediction(reply, row, manifest) for reply, row in zip(replies, asked.rows, strict=True)]
    if asked.single:
        return document(200, {**head, **told[0]})
    if len({reply.bundle for reply in replies}) > 1:  # the model changed between two rows
        for reply, one in zip(replies, told, strict=True):
            one |= {"bundle": reply.bundle, "release_seq": reply.release_seq}
    return document(200, {**head, "predictions": told})


def _prediction(reply: Reply, row: Row, manifest: Manifest) -> dict[str, Any]:
    answer = reply.answer
    if answer is None:
        _, reason, line = _why(reply, row, manifest)
        return _error(reason, line)
    told: dict[str, Any] = {}
    if answer.label != NO_LABEL:
        told |= {"label": answer.label, "name": _name(answer, reply.labels)}
    told["scores" if gives_scores(manifest) else "values"] = answer.outputs.tolist()
    return told | {"latency_us": reply.latency_us, **({"cached": True} if reply.cached else {})}


def _name(answer: Answer, labels: Sequence[str]) -> str:
    return labels[answer.label] if answer.label < len(labels) else ""


def _raw(replies: Sequence[Reply]) -> Response:
    answers = [reply.answer for reply in replies if reply.answer is not None]
    outputs = np.stack([answer.outputs for answer in answers]).astype("<f4", copy=False)
    return Response(200, outputs.tobytes(), RAW, {
        "Sprat-Shape": ",".join(map(str, outputs.shape)),
        "Sprat-Labels": ",".join(str(answer.label) for answer in answers),
        "Sprat-Bundle": replies[0].bundle,
        "Sprat-Release": str(replies[0].release_seq),
    })  # fmt: skip


def _failed(reply: Reply, row: Row, manifest: Manifest) -> Response:
    status, reason, line = _why(reply, row, manifest)
    return document(status, _error(reason, line), {"Retry-After": "1"} if status == 503 else None)


def _why(reply: Reply, row: Row, manifest: Manifest) -> tuple[int, str, str]:
    if reply.reason is None:
        return 503, "no-bundle", reply.detail
    if reply.reason in _RUN:
        return 500, reply.reason, reply.detail or "the model gave an output that is not finite"
    told = [explain(spec, row, manifest.preprocess) for spec in manifest.inputs]
    return 422, reply.reason, reply.detail or "; ".join(told)


def _error(reason: str, line: str) -> dict[str, Any]:
    return {"error": {"reason": str(reason), "detail": " ".join(line.split())}}
