"""How the machine and the agent do, and what they are: a file per part, each silent where the board does not tell."""

from sprat_device.board.health.facts import facts as facts
from sprat_device.board.health.facts import versions as versions
from sprat_device.board.health.health import Health as Health
