"""The signed repository: founded and signed on a workstation, served by a hub or copied to a stick.

Releases are prepared where the channel key is (`prepare_release`) and accepted where the files are served
(`Repository.accept`); the online key there signs snapshot and timestamp only, so it can publish nothing by itself.
"""

from sprat.publish.repository.entries import MAX_ENTRIES, Listed, describe_release
from sprat.publish.repository.folder import Repository
from sprat.publish.repository.founding import create, initial_metadata
from sprat.publish.repository.preparing import Prepared, prepare_promotion, prepare_release, prepare_withdrawal

__all__ = [
    "MAX_ENTRIES",
    "Listed",
    "Prepared",
    "Repository",
    "create",
    "describe_release",
    "initial_metadata",
    "prepare_promotion",
    "prepare_release",
    "prepare_withdrawal",
]
