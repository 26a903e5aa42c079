"""On demand: one small HTTP server in front of every model whose `[[inputs]]` is of kind serve or http.

One thread does all of the network, and it never blocks: a slow client costs a few KiB, not a thread. Requests become
readings in a desk, which is the source of an ordinary loop; what waits there is run at once where the artifact's batch
is open. A device that serves nothing does not import it. Docs: docs/serving.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sprat_device.board.clock import Clock
from sprat_device.board.settings.inputs import InputSettings
from sprat_device.board.settings.serve import ServeSettings

if TYPE_CHECKING:
    from sprat_device.contract.records import Origin
    from sprat_device.inference.serve.serving import Serving
    from sprat_device.inference.session import Session
    from sprat_device.inference.sources.reading import Source

PREDICT: Final = "serve"
PUSH: Final = "http"
KINDS: Final = frozenset({PREDICT, PUSH})
"""Of `[[inputs]]`: asked for an answer, or pushed to without one."""


class OnDemand:
    """What answers on demand on one device: nothing, until an input asks for it."""

    def __init__(
        self,
        settings: ServeSettings,
        inputs: Sequence[InputSettings],
        clock: Clock,
        event: Callable[[str, Mapping[str, object]], None],
    ) -> None:
        self._clock = clock
        self._event = event
        self._serving: Serving | None = None
        self.feed(settings, inputs)

    @property
    def alive(self) -> bool:
        """Tell whether its thread runs, if it should."""
        return self._serving is None or self._serving.alive

    def feed(self, settings: ServeSettings, inputs: Sequence[InputSettings]) -> None:
        """Follow changed inputs; `settings` count where the first of them is served."""
        if self._serving is not None:
            self._serving.feed(inputs)
        elif any(entry.kind in KINDS for entry in inputs):
            from sprat_device.inference.serve.serving import Serving  # noqa: PLC0415 - half a MiB that few devices need

            self._serving = Serving(settings, inputs, self._clock, event=self._event)

    def configure(self, settings: ServeSettings) -> None:
        """Follow changed settings; WrongUse for a token that is no good, and all stays as it was."""
        if self._serving is not None:
            self._serving.configure(settings)

    def source(self, wanted: InputSettings) -> Source | None:
        """Return the desk of an input, None for one that is not served."""
        return self._serving.source(wanted) if self._serving is not None and wanted.kind in KINDS else None

    def show(self, wanted: InputSettings, session: Session, origin: Origin) -> None:
        """Tell what answers for an input from now on."""
        if self._serving is not None:
            self._serving.show(wanted, session, origin)

    def hide(self, model: str) -> None:
        """Tell that no bundle answers for a model."""
        if self._serving is not None:
            self._serving.hide(model)

    def keep(self) -> None:
        """Listen where that failed before; called now and then."""
        if self._serving is not None:
            self._serving.keep()

    def stop(self) -> None:
        """Answer those who wait that nothing answers any more, and close."""
        if self._serving is not None:
            self._serving.stop()
