"""What a bundle says of itself: `manifest.json`, schema `sprat.manifest/1`.

It holds what decides the bytes and nothing that was measured on one machine (that stands in the signed release
metadata). Unknown fields survive a read-write in `extra`.
"""

from sprat_device.contract.manifest.document import MAX_SIZE as MAX_SIZE
from sprat_device.contract.manifest.document import SCHEMA as SCHEMA
from sprat_device.contract.manifest.document import Artifact as Artifact
from sprat_device.contract.manifest.document import Manifest as Manifest
from sprat_device.contract.manifest.document import parse as parse
from sprat_device.contract.manifest.golden import Golden as Golden
from sprat_device.contract.manifest.golden import Tolerance as Tolerance
from sprat_device.contract.manifest.kinds import Format as Format
from sprat_device.contract.manifest.kinds import Runtime as Runtime
from sprat_device.contract.manifest.kinds import State as State
from sprat_device.contract.manifest.kinds import Task as Task
from sprat_device.contract.manifest.tensors import EMBEDDING as EMBEDDING
from sprat_device.contract.manifest.tensors import TensorSpec as TensorSpec
