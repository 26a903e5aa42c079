"""A field device as a process that can be killed: `python -m tests.field_process SPOOL PORT CA CERTIFICATE KEY`.

It says on stdout, again and again, how many predictions are safe on its disk.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.field import FieldDevice

from sprat_device.board import tls
from sprat_device.contract.phases import Lane


def main() -> None:
    spool, port, ca, certificate, key = sys.argv[1:]
    context = tls.context(ca=Path(ca), certificate=Path(certificate), key=Path(key), trusted_us=lambda: 0)
    device = FieldDevice(Path(spool), int(port), context)
    device.start()
    while True:
        device.recorder.flush()
        lane = device.recorder.ledger()[Lane.PREDICTIONS]
        print(lane.produced - lane.open, flush=True)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
