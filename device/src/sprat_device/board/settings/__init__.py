"""The agent's settings: a file per section, one frozen object of them all, and how they are read."""

from sprat_device.board.settings.device import DEFAULT as DEFAULT
from sprat_device.board.settings.device import DeviceSettings as DeviceSettings
from sprat_device.board.settings.hub import HubSettings as HubSettings
from sprat_device.board.settings.inputs import InputSettings as InputSettings
from sprat_device.board.settings.install import InstallSettings as InstallSettings
from sprat_device.board.settings.load import FILE_NAME as FILE_NAME
from sprat_device.board.settings.load import load as load
from sprat_device.board.settings.outputs import OutputSettings as OutputSettings
from sprat_device.board.settings.runtime import RuntimeSettings as RuntimeSettings
from sprat_device.board.settings.serve import ServeSettings as ServeSettings
from sprat_device.board.settings.telemetry import TelemetrySettings as TelemetrySettings
