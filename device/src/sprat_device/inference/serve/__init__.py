"""On demand: one small HTTP server in front of every model whose `[[inputs]]` is of kind serve or http.

One thread does all of the network, and it never blocks: a slow client costs a few KiB, not a thread. Requests become
readings in a desk, which is the source of an ordinary loop; what waits there is run at once where the artifact's batch
is open. Docs: docs/serving.md.
"""

from sprat_device.inference.serve.serving import KINDS as KINDS
from sprat_device.inference.serve.serving import Serving as Serving
