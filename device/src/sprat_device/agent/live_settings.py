"""Which parts of the settings count while the agent runs, and what applies each; any other waits for a restart."""

from __future__ import annotations

from collections.abc import Callable

from sprat_device.agent.reloading import Apply
from sprat_device.agent.streams import Streams
from sprat_device.agent.watching import Watching
from sprat_device.board import logs
from sprat_device.board.logs import LogHandler
from sprat_device.board.settings import DeviceSettings
from sprat_device.commands import Commands
from sprat_device.contract.twin import Desired
from sprat_device.inference.live import Live
from sprat_device.install.installer import Installer
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.uplink import Uplink


def appliers(
    *,
    log: LogHandler | None,
    recorder: Recorder,
    uplink: Uplink,
    live_feed: Live,
    streams: Streams,
    watching: Watching,
    installer: Installer,
    commands: Commands,
    desired: Callable[[], Desired],
) -> dict[str, Apply]:
    """Wire the table, by section or by a key outside of sections; `desired` returns what the hub wishes by then."""

    def configure_log_format(new: DeviceSettings) -> None:
        if log is not None:
            log.set_format(new.log_format)

    def configure_runtime(new: DeviceSettings) -> None:
        streams.reload(new)
        watching.rest_on(new)

    def configure_telemetry(new: DeviceSettings) -> None:
        recorder.configure(new.telemetry)
        recorder.apply(desired().telemetry)
        uplink.configure(new.telemetry)
        live_feed.configure(new.telemetry.live_per_s)
        streams.reconfigure(new)
        watching.rest_on(new)

    def configure_watching(new: DeviceSettings) -> None:
        watching.configure(new, desired())

    return {
        "log_level": lambda new: logs.set_level(new.log_level),
        "log_format": configure_log_format,
        "telemetry": configure_telemetry,
        "inputs": streams.reconfigure,
        "outputs": streams.redirect,
        "serve": streams.serve,
        "drift": lambda new: streams.reconfigure(new, reopen=True),
        "runtime": configure_runtime,
        "install": lambda new: installer.configure(new.install),
        "remote": lambda new: commands.allow(new.remote.commands),
        "health": lambda _new: None,  # read at each use
        "capture": configure_watching,
        "shadow": configure_watching,
    }
