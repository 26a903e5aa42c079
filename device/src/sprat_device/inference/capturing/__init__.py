"""Which readings are kept for people to look at, under a budget, and never without the hooks that redact them.

In the loop's thread only a decision is taken and a reference kept; everything else is done by a thread of its own.
"""

from sprat_device.inference.capturing.capturer import Capturer as Capturer
from sprat_device.inference.capturing.capturer import Offered as Offered
from sprat_device.inference.capturing.watcher import CaptureWatcher as CaptureWatcher
