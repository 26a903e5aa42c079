"""A real sshd on 127.0.0.1 with throw-away keys, and an `ssh` that knows it as the host `board`."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
SSH = shutil.which("ssh")
_PRIVSEP = Path("/run/sshd")


@dataclass(frozen=True)
class Server:
    """Where it listens, what it wrote, and the folder whose `ssh` reaches it."""

    port: int
    log: Path
    programs: Path
    known_hosts: Path


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Run it until the end of the block; a login finds this environment's programs on its PATH."""
    assert SSHD is not None
    assert SSH is not None
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    if os.geteuid() == 0:
        _PRIVSEP.mkdir(mode=0o755, exist_ok=True)  # as its service does before it starts
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(port, folder / "sshd.log", folder / "bin", folder / "known")
    (folder / "sshd_config").write_text(_server_config(folder, port))
    server.known_hosts.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "ssh_config").write_text(_client_config(folder, server))
    server.programs.mkdir()
    (server.programs / "ssh").write_text(f'#!/bin/sh\nexec {SSH} -F {folder / "ssh_config"} "$@"\n')
    (server.programs / "ssh").chmod(0o755)
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
        try:
            _wait(process, server)
            yield server
        finally:
            process.terminate()
            process.wait(60)


def _server_config(folder: Path, port: int) -> str:
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return (
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'authorized'}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin prohibit-password\nSetEnv PATH={path}\n"
    )


def _client_config(folder: Path, server: Server) -> str:
    return (
        f"Host board\nHostName 127.0.0.1\nPort {server.port}\nUser {getpass.getuser()}\nIdentityFile {folder / 'user'}\n"
        f"IdentitiesOnly yes\nUserKnownHostsFile {server.known_hosts}\nGlobalKnownHostsFile /dev/null\n"
        "StrictHostKeyChecking yes\nUpdateHostKeys no\n"
    )


def _wait(process: subprocess.Popen[bytes], server: Server) -> None:
    """Wait until it takes connections; what it said where it ended."""
    for _ in range(1200):
        if process.poll() is not None:
            raise RuntimeError(f"sshd ended: {server.log.read_text()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"sshd does not answer: {server.log.read_text()}")
