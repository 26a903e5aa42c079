"""What may be asked: a table of methods and paths, and what answers each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sprat_device import VERSION
from sprat_device.contract.errors import did_you_mean
from sprat_device.contract.manifest import TensorSpec
from sprat_device.inference.serve import PREDICT, PUSH, bodies
from sprat_device.inference.serve.access import Access
from sprat_device.inference.serve.answers import document, rendering
from sprat_device.inference.serve.desk import Desk, no_bundle
from sprat_device.inference.serve.exchange import Exchange, Rows, Shown
from sprat_device.inference.serve.room import RETRY_S, Room, size_of
from sprat_device.inference.serve.wire import Refusal, Request, Response
from sprat_device.inference.tensors import reading_dtype

_MODEL: Final = re.compile(r"/v1/models/([a-z0-9._-]{1,64})(/predict|/readings)?")

Answer = Response | Exchange
Key = tuple[str, str, str]
"""Kind, model and name of an input."""


class Routes:
    """Answers requests for the desks of one device; never waits."""

    def __init__(self, access: Access, room: Room) -> None:
        self.access = access
        self._room = room
        self.desks: Mapping[Key, Desk] = {}
        """Replaced as a whole where inputs change, never changed while requests are answered."""
        self._plain: dict[str, Callable[[], Response]] = {
            "/healthz": self._health, "/readyz": self._ready, "/v1/models": self._models
        }  # fmt: skip
        self.done: Callable[[Exchange], None] = lambda _exchange: None

    def __call__(self, request: Request) -> Answer:
        """Answer one request, or raise Refusal."""
        head = request.head
        self.access.require(head)
        if (plain := self._plain.get(head.path)) is not None:
            _require_method(head.method, "GET")
            return plain()
        match = _MODEL.fullmatch(head.path)
        if match is None:
            raise Refusal(404, "unknown-path", f"{head.path[:100]!r}: no such path; /v1/models lists the models")
        model, verb = match[1], match[2]
        self._require_model(model)
        _require_method(head.method, "POST" if verb else "GET")
        match verb:
            case "/predict":
                return self._predict(request, self._desk(PREDICT, model, head.query.get("input")))
            case "/readings":
                return self._push(request, self._desk(PUSH, model, head.query.get("input")))
            case _:
                return document(200, self._described(model))

    def _predict(self, request: Request, desk: Desk) -> Exchange:
        shown = _shown(desk)
        asked = self._parsed(request, shown)
        exchange = Exchange(asked, rendering(request, asked, shown))
        exchange.done = self.done
        desk.put(asked, exchange)
        return exchange

    def _push(self, request: Request, desk: Desk) -> Response:
        asked = self._parsed(request, _shown(desk))
        desk.put(asked, None)
        return document(202, {"accepted": len(asked.rows), "waiting": desk.waiting})

    def _parsed(self, request: Request, shown: Shown) -> Rows:
        """Return the rows with the room that they take: as arrays they may be larger than the body was."""
        asked = bodies.parse(request, shown.manifest)
        return replace(asked, held=self._room.claim(size_of(asked.rows)))

    def _health(self) -> Response:
        return document(200, {"ok": True, "agent": VERSION})

    def _ready(self) -> Response:
        lacking = sorted({desk.model for desk in self.desks.values() if desk.shown is None})
        again = {"Retry-After": str(RETRY_S)} if lacking else None
        return document(503 if lacking else 200, {"ready": not lacking, "without_bundle": lacking}, again)

    def _models(self) -> Response:
        return document(200, {"models": [self._brief(model) for model in self._names()]})

    def _names(self) -> Sequence[str]:
        return sorted({model for _, model, _ in self.desks})

    def _brief(self, model: str) -> dict[str, Any]:
        desks = {key: desk for key, desk in self.desks.items() if key[1] == model}
        shown = next(iter(desks.values())).shown
        inputs = [
            {"name": name, "kind": kind, "waiting": desk.waiting, "queue": desk.most, "refused": desk.refused}
            for (kind, _, name), desk in sorted(desks.items())
        ]
        return {"model": model, "ready": shown is not None, **_running(shown), "takes": inputs}

    def _described(self, model: str) -> dict[str, Any]:
        told = self._brief(model)
        shown = next(desk for key, desk in self.desks.items() if key[1] == model).shown
        if shown is None:
            return told
        manifest = shown.manifest
        return told | {
            "task": manifest.task,
            "state": manifest.state,
            "runtime": shown.runtime,
            "labels": list(manifest.labels),
            "inputs": [_input(spec) for spec in manifest.inputs],
            "outputs": [
                {"name": spec.name, "meaning": spec.meaning, "shape": list(spec.shape[1:]), "unit": spec.unit}
                for spec in manifest.outputs
            ],
        }

    def _require_model(self, model: str) -> None:
        names = self._names()
        if model not in names:
            raise Refusal(404, "unknown-model", f"no model {model!r} is served here{did_you_mean(model, names)}")

    def _desk(self, kind: str, model: str, name: str | None) -> Desk:
        found = {key[2]: desk for key, desk in self.desks.items() if key[:2] == (kind, model)}
        if name is None and len(found) == 1:
            return next(iter(found.values()))
        if name in found:
            return found[name]
        if not found:
            raise Refusal(404, "unknown-input", f"{model} has no input for this; add [[inputs]] with kind = {kind!r}")
        raise Refusal(404, "unknown-input", f"?input=: found {name!r}, expected one of {', '.join(sorted(found))}")


def _shown(desk: Desk) -> Shown:
    if desk.shown is None:
        raise no_bundle(desk.model)
    return desk.shown


def _running(shown: Shown | None) -> dict[str, Any]:
    return {} if shown is None else {"bundle": shown.bundle, "release_seq": shown.release_seq}


def _input(spec: TensorSpec) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": spec.name, "dtype": reading_dtype(spec).name if spec.dtype != "string" else "string",
        "shape": list(spec.shape[1:]), "unit": spec.unit, "features": list(spec.features),
        "missing_allowed": spec.missing_allowed,
    }  # fmt: skip
    if spec.maximum > spec.minimum:
        told |= {"minimum": spec.minimum, "maximum": spec.maximum}
    if spec.minimums:
        told |= {"minimums": list(spec.minimums), "maximums": list(spec.maximums)}
    return told


def _require_method(found: str, expected: str) -> None:
    if found != expected:
        raise Refusal(405, "bad-request", f"method {found}, expected {expected}", Allow=expected)
