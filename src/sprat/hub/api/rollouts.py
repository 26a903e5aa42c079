"""Rollouts: plan, start, look at, pause, resume, abort."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from typing import Any, Final

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from sprat.errors import ContractError
from sprat.hub.api.given import Hub, Operator, Viewer
from sprat.hub.errors import NotFound
from sprat.hub.rollouts.cohort import Fit
from sprat.hub.rollouts.counts import healthy
from sprat.hub.rollouts.dispatch import Dispatcher
from sprat.hub.services import Services
from sprat.hub.store.rollout_values import Rollout, parse_spec

router = APIRouter()


class Action(StrEnum):
    """What people do to a rollout."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"


ACTIONS: Final[dict[Action, Callable[[Dispatcher, str, str], Rollout]]] = {
    Action.START: Dispatcher.start,
    Action.PAUSE: Dispatcher.pause,
    Action.RESUME: Dispatcher.resume,
    Action.ABORT: Dispatcher.abort,
}


@router.get("/api/rollouts")
def rollouts(hub: Hub, _person: Viewer) -> list[dict[str, Any]]:
    """Tell every rollout, the newest first."""
    return [describe(hub, rollout) for rollout in hub.rollouts.all()]


@router.get("/api/rollouts/{rollout}")
def rollout(hub: Hub, _person: Viewer, rollout: str) -> dict[str, Any]:
    """Tell everything of one rollout."""
    found = _existing(hub, rollout)
    return {**describe(hub, found), "log": [asdict(entry) for entry in hub.rollouts.log(found.id)]}


@router.post("/api/rollouts", status_code=201)
async def create(hub: Hub, person: Operator, request: Request) -> dict[str, Any]:
    """Make a draft; `start` begins it."""
    spec = parse_spec(await _json(request))
    draft = await run_in_threadpool(hub.dispatcher.create, spec, person.name)
    hub.store.audit.add(person.name, "rollout.create", draft.id, hub.now_us(), spec.dump())
    return describe(hub, draft)


@router.post("/api/rollout-plans")
async def plan(hub: Hub, _person: Operator, request: Request) -> list[dict[str, Any]]:
    """Tell beforehand which devices a rollout would reach, in which wave, and who does not fit."""
    spec = parse_spec(await _json(request))
    planned = await run_in_threadpool(hub.dispatcher.plan, spec)
    return [
        {"device": one.device, "wave": one.wave, "fits": isinstance(one.fit, Fit), **asdict(one.fit)} for one in planned
    ]


@router.post("/api/rollouts/{rollout}/{action}")
def act(hub: Hub, person: Operator, rollout: str, action: Action) -> dict[str, Any]:
    """Start, pause, resume or abort a rollout."""
    found = _existing(hub, rollout)
    after = ACTIONS[action](hub.dispatcher, found.id, person.name)
    hub.store.audit.add(
        person.name, f"rollout.{action}", found.id, hub.now_us(), {"before": found.phase, "after": after.phase}
    )
    return describe(hub, after)


def describe(hub: Services, rollout: Rollout) -> dict[str, Any]:
    """Return a rollout as the API tells it: its devices with what the hub holds of them."""
    bundles = {member.bundle for member in rollout.members.values() if member.bundle}
    tallies = {
        (tally.device, tally.bundle): tally for tally in hub.telemetry.tallies(bundles=bundles)
    } if bundles else {}  # fmt: skip
    devices = []
    for member in rollout.members.values():
        tally = tallies.get((member.device, member.bundle))
        shown = healthy(member, tally.predictions if tally else 0, hub.telemetry)
        devices.append({**asdict(member), "healthy": shown, "errors": tally.errors if tally else 0})
    plain = asdict(rollout) | {"spec": rollout.spec.dump(), "devices": devices}
    del plain["members"]
    return plain


def _existing(hub: Services, rollout: str) -> Rollout:
    found = hub.rollouts.get(rollout)
    if found is None:
        raise NotFound(f"rollout {rollout[:64]!r}: does not exist; `sprat rollout list` shows them")
    return found


async def _json(request: Request) -> object:
    try:
        return await request.json()
    except (ValueError, RecursionError) as exc:
        raise ContractError(f"rollout: not JSON ({exc})") from exc
