"""A bundle's declared pre-processing, run on each reading before it is checked."""

from __future__ import annotations

from collections.abc import Callable

from sprat_device.contract.manifest import Manifest
from sprat_device.contract.phases import Reason
from sprat_device.contract.preprocess import Plan, StepFailed, plans
from sprat_device.inference.sources.reading import Fault, Inputs, Reading

Preparing = Callable[[Reading], Reading]


def preparing(manifest: Manifest) -> Preparing | None:
    """Return what makes a reading of what came, None where nothing is to be done; BundleRefused for an unknown step."""
    wanted = {name: plan for name, plan in plans(manifest.preprocess).items() if plan.steps}
    return _prepared(wanted) if wanted else None


def as_taken(inputs: Inputs, prepare: Preparing | None) -> Reading:
    """Return what a sensor gave as the model takes it, outside of a stream."""
    reading = Reading(0, 0, 0, inputs)
    return reading if prepare is None else prepare(reading)


def _prepared(wanted: dict[str, Plan]) -> Preparing:
    def prepare(reading: Reading) -> Reading:
        try:
            done = {name: plan.run(reading.inputs[name]) for name, plan in wanted.items() if name in reading.inputs}
        except StepFailed as exc:
            return reading._replace(fault=Fault(Reason.INPUT_SHAPE, str(exc)))
        return reading._replace(inputs={**reading.inputs, **done}, raw=reading.inputs)

    return prepare
