"""The agent: the house's rooms wired together, and what runs in which thread.

One process. Each input has a thread of its own, so that one source never makes another wait; the main thread installs,
loads, and talks with the hub; behind the Recorder stands the spool's writer, behind the Uplink the MQTT thread. Inference
starts from the last good slot with no network, no clock and no hub.
"""

from sprat_device.agent.agent import Agent as Agent
from sprat_device.agent.agent import Ending as Ending
from sprat_device.agent.inbox import Inbox as Inbox
