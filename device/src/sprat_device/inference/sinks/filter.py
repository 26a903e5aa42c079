"""Which predictions an output is told: by model, input, label and confidence, each or only a change, and at what pace.

Rules, in this order: a prediction of another model or input, or outside of the confidences, is passed over as if it had not
been; with `on = "change"` only a label that is another than the last one goes on; then the labels; then the pace. A change
that the pace held back is told by the next prediction that still has it.
"""

from __future__ import annotations

from sprat_device.board.settings import OutputSettings
from sprat_device.board.settings.outputs import CHANGE
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.pace import Pace
from sprat_device.inference.session import Session


class Filter:
    """The rules of one output for one input of a model; from that input's thread. `pace` is shared by all inputs."""

    def __init__(self, settings: OutputSettings) -> None:
        self._settings = settings
        self._labels = frozenset(settings.labels)
        self._changes = settings.on == CHANGE
        self._surely = settings.min_confidence > 0 or settings.max_confidence < 1
        self._last: tuple[tuple[str, ...], int] | None = None

    def passes(self, session: Session, prediction: Prediction, pace: Pace) -> bool:
        """Tell whether this prediction is told, and count it if so."""
        if self._surely and not self._sure(session, prediction):
            return False
        labels = session.manifest.labels
        now = (labels, prediction.label)
        if self._changes and now == self._last:
            return False
        if self._labels and not (0 <= prediction.label < len(labels) and labels[prediction.label] in self._labels):
            self._last = now
            return False
        if not pace.allows():
            return False
        self._last = now
        return True

    def _sure(self, session: Session, prediction: Prediction) -> bool:
        # Only probabilities are confidences: a distance or a value is none, whatever its number.
        if not session.scores:
            return False
        sure = float(prediction.outputs[prediction.label])
        return self._settings.min_confidence <= sure <= self._settings.max_confidence


def concerns(settings: OutputSettings, origin: Origin) -> bool:
    """Tell whether an output wants predictions of this model and input at all."""
    return settings.model in ("", origin.model) and settings.input in ("", origin.input)
