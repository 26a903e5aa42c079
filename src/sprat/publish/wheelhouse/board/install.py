"""Runs the set-up of the agent that lies in this folder, after a look at the agent's own SHA-256.

Standard library only, and readable by older versions of Python than the agent needs, so that they can say so.
"""

import hashlib
import json
import sys
from pathlib import Path


def main() -> int:
    """Check the agent's wheel against the manifest, then let it do the rest: it checks every other file."""
    here = Path(__file__).resolve().parent
    found = ".".join(map(str, sys.version_info[:2]))
    try:
        manifest = json.loads((here / "manifest.json").read_text("utf-8"))
        entries = {str(entry["name"]): str(entry["sha256"]) for entry in manifest["files"]}
        agent = next(name for name in entries if name.startswith("wheels/sprat_device-"))
        sha256 = hashlib.sha256((here / agent).read_bytes()).hexdigest()
        wanted = str(manifest["python"])
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as exc:
        return refuse(f"{here}: not a whole wheelhouse ({exc}); copy it again")
    if sha256 != entries[agent]:
        return refuse(f"{agent}: SHA-256 {sha256[:12]}, the manifest says {entries[agent][:12]}; copy it again")
    if found != wanted:
        return refuse(f"this board has Python {found}, the wheelhouse is for {wanted}; build one with --python {found}")
    sys.path.insert(0, str(here / agent))
    from sprat_device.__main__ import main as agent_main  # noqa: PLC0415 - only now is it known to be ours

    return agent_main(["board", "setup", "--wheelhouse", str(here), *sys.argv[1:]])


def refuse(sentence: str) -> int:
    """Say in one line why not."""
    sys.stderr.write("sprat: " + " ".join(sentence.split()) + "\n")
    return 4


if __name__ == "__main__":
    sys.exit(main())
