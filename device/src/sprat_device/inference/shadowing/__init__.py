"""A second bundle beside the one that answers: it sees some of the same readings, in a process of its own.

Nothing of it may touch the active bundle: a loop only leaves a reference where one is wanted; loading, running, waiting
and dying happen elsewhere.
"""

from sprat_device.inference.shadowing.shadow import Ports as Ports
from sprat_device.inference.shadowing.shadow import Shadow as Shadow
from sprat_device.inference.shadowing.shadow import Standing as Standing
from sprat_device.inference.shadowing.watcher import Shadows as Shadows
