"""Where predictions act on the site, without the hub and without a network: programs, files, topics, addresses."""

from sprat_device.inference.sinks.outlets import KINDS as KINDS
from sprat_device.inference.sinks.outlets import Outlets as Outlets
