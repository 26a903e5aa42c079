"""The one line that brings the agent onto a fresh board, for people to paste.

It needs Python and nothing else. Whatever it downloads is compared with the SHA-256 that stands in the line before a
byte of it runs; from there the agent itself goes on, and trusts the hub whose CA the token names. See
firmware-notes/decisions on why.
"""

from __future__ import annotations

import shlex
from typing import Final

from sprat_device.contract.wheelhouse import AGENT_PATH

_PROGRAM: Final = ";".join((
    "import hashlib,ssl,sys,tempfile,urllib.request as u",
    # One line for an error, as everywhere; where the hub said no, with the hub's own sentence.
    'sys.excepthook=lambda k,e,t:print("sprat:",e,e.read(500).decode() if hasattr(e,"read") else "",file=sys.stderr)',
    'sys.version_info<(3,11) and sys.exit("sprat: the agent needs Python 3.11 or newer")',
    "H,S=sys.argv[1:3]",
    # Without trust: the comparison is what counts.
    f'w=u.urlopen(H+"{AGENT_PATH}"+S,context=ssl._create_unverified_context(),timeout=60).read()',
    'hashlib.sha256(w).hexdigest()==S or sys.exit("sprat: "+H+" sent another agent than this line names")',
    "d=tempfile.TemporaryDirectory()",
    'p=d.name+"/agent.whl"',
    'open(p,"wb").write(w)',
    "sys.path.insert(0,p)",
    "from sprat_device.__main__ import main",
    'sys.exit(main(["board","setup","--hub",H,*sys.argv[3:]]))',
))  # fmt: skip


def online(hub: str, agent_sha256: str, token: str) -> str:
    """Return the line for a board that reaches the hub, which has a wheelhouse with that agent."""
    return shlex.join(["sudo", "python3", "-I", "-c", _PROGRAM, hub, agent_sha256, "--token", token])


def offline(hub: str, token: str) -> str:
    """Return the line for a board that has a wheelhouse on a stick."""
    return f"sudo sh WHEELHOUSE/install.sh --hub {shlex.quote(hub)} --token {shlex.quote(token)}"
