"""The twin: device state as the hub wants it (`sprat.desired/1`) and as the device tells it (`sprat.reported/1`).

Versions rise by one with each change. `incarnation` is a random number of the hub's store: a restored backup has
lower versions under a new incarnation, and devices take those too. Nothing in a twin is trusted to decide what may
be installed; that is signed elsewhere.
"""

from sprat_device.contract.twin.desired import Desired as Desired
from sprat_device.contract.twin.desired import Detail as Detail
from sprat_device.contract.twin.desired import InputMode as InputMode
from sprat_device.contract.twin.desired import Offer as Offer
from sprat_device.contract.twin.desired import TelemetrySettings as TelemetrySettings
from sprat_device.contract.twin.desired import parse_desired as parse_desired
from sprat_device.contract.twin.desired import parse_offer as parse_offer
from sprat_device.contract.twin.document import MAX_SIZE as MAX_SIZE
from sprat_device.contract.twin.models import Installed as Installed
from sprat_device.contract.twin.models import InstallReport as InstallReport
from sprat_device.contract.twin.models import ModelReport as ModelReport
from sprat_device.contract.twin.models import ShadowReport as ShadowReport
from sprat_device.contract.twin.models import parse_installed as parse_installed
from sprat_device.contract.twin.presence import Presence as Presence
from sprat_device.contract.twin.presence import parse_presence as parse_presence
from sprat_device.contract.twin.reported import LaneReport as LaneReport
from sprat_device.contract.twin.reported import Reported as Reported
from sprat_device.contract.twin.reported import parse_reported as parse_reported
