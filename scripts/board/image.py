"""A Debian in an image file, made once and kept: kernel, a small initramfs, and a root file system that has systemd.

Nothing is mounted for it: the packages are installed in a folder by a root that has lost the rights to mount, to signal
others and to change the kernel, and sees no /proc; `mkfs.ext4 -d` writes that folder into the image.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sprat.errors import MachineLacks

SUITE: Final = "bookworm"
HUB_NAME: Final = "hub.sprat"
HUB_ADDRESS: Final = "10.0.2.100"
_PACKAGES: Final = (
    "systemd", "systemd-sysv", "systemd-timesyncd", "udev", "dbus", "openssh-server", "iproute2", "procps", "kmod",
    "python3", "ca-certificates", "sudo",
)  # fmt: skip
_KERNEL: Final = "linux-image-cloud-amd64"
_MODULES: Final = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
)
"""What the cloud kernel lacks to find its disk, in the order of their needs; ext4 is built in."""
_SIZE: Final = "3G"
_LOST: Final = ("sys_admin", "net_admin", "sys_module", "sys_boot", "sys_rawio", "sys_time", "sys_ptrace", "kill")
_IDLE: Final = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
)
"""What would be busy at its own time, most of all after a jump of the clock."""
_BEFORE: Final = {
    "usr/sbin/policy-rc.d": (0o755, "#!/bin/sh\nexit 101\n"),  # no package starts a service
    "etc/dpkg/dpkg.cfg.d/test-board": (0o644, "force-unsafe-io\n"),
}
_INIT: Final = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
for name in {modules}; do [ -e /$name.ko ] && /bin/busybox insmod /$name.ko; done
how=ro init=/sbin/init
for word in $(/bin/busybox cat /proc/cmdline); do
  case $word in probe) /bin/busybox poweroff -f ;; rw) how=rw ;; init=*) init=${{word#init=}} ;; esac
done
n=0
while [ ! -e /dev/vda ] && [ $n -lt 100 ]; do /bin/busybox sleep 0.1; n=$((n + 1)); done
/bin/busybox mount -t ext4 -o $how /dev/vda /root || exec /bin/busybox sh
/bin/busybox umount /proc
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root $init
"""
_FILES: Final = {
    "etc/hostname": "board\n",
    "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 board\n{HUB_ADDRESS} {HUB_NAME}\n",
    "etc/fstab": "/dev/vda / ext4 defaults,errors=remount-ro 0 1\n",
    "etc/systemd/network/10-board.network": "[Match]\nName=e*\n\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n",
    "etc/ssh/sshd_config.d/board.conf": "PermitRootLogin prohibit-password\nUseDNS no\n",
    "etc/systemd/journald.conf.d/board.conf": "[Journal]\nStorage=persistent\n",
    "var/log/journal/.keep": "",
}


@dataclass(frozen=True, slots=True)
class Image:
    """What a virtual machine begins with; all of it is only read."""

    folder: Path

    @property
    def kernel(self) -> Path:
        """Debian's kernel."""
        return self.folder / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        """What finds the disk."""
        return self.folder / "initramfs"

    @property
    def disk(self) -> Path:
        """The root file system, on a disk without partitions."""
        return self.folder / "disk.img"

    @property
    def key(self) -> Path:
        """The key that root of the guest lets in."""
        return self.folder / "key"


def make(kept: Path) -> Image:
    """Return the image below `kept`, made anew where its recipe changed."""
    made = Image(kept)
    want, stamp = hashlib.sha256(Path(__file__).read_bytes()).hexdigest(), kept / "made-from"
    if not stamp.exists() or stamp.read_text() != want:
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        _make(made)
        stamp.write_text(want)
    return made


def _make(image: Image) -> None:
    tree = image.folder / "tree"
    _run("debootstrap", "--foreign", "--variant=minbase", f"--include={','.join(_PACKAGES)}", SUITE, str(tree))
    release = _unpack_kernel(image, tree)
    _initramfs(image, tree / "usr/lib/modules" / release)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test-board", "-f", str(image.key))
    for name, (mode, text) in _BEFORE.items():
        _write(tree / name, text, mode)
    _inside(tree, "/debootstrap/debootstrap", "--second-stage")
    for name in _BEFORE:
        (tree / name).unlink(missing_ok=True)  # debootstrap takes its own policy away
    for name, text in _FILES.items():
        _write(tree / name, text)
    ours = tree / "root/.ssh"
    ours.mkdir(mode=0o700, parents=True)
    (ours / "authorized_keys").write_text(image.key.with_suffix(".pub").read_text())
    _inside(tree, "depmod", release)
    _inside(tree, "systemctl", "enable", "systemd-networkd.service", "ssh.service", "systemd-timesyncd.service")
    _inside(tree, "systemctl", "mask", *_IDLE)
    _inside(tree, "apt-get", "clean")
    _run("mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(tree), str(image.disk), _SIZE)
    shutil.rmtree(tree)


def _inside(tree: Path, *command: str) -> None:
    """Run a program of the folder's own system in it, without the rights by which it could touch this machine."""
    lost = ",".join(f"-{name}" for name in _LOST)
    own = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
    _run(
        "setpriv", "--inh-caps=-all", f"--bounding-set={lost}", "env", "-i", *own, "chroot", str(tree), *command
    )  # fmt: skip


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _unpack_kernel(image: Image, tree: Path) -> str:
    """Put kernel and modules of the Debian package in their places and return the kernel's release."""
    package = _run("apt-cache", "depends", "--no-recommends", "--no-suggests", _KERNEL)
    name = next(line.split()[-1] for line in package.splitlines() if "Depends: linux-image-" in line)
    folder = image.folder / "kernel"
    folder.mkdir()
    _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name, folder=folder)
    _run("dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder / "x"))
    (modules,) = (folder / "x/lib/modules").iterdir()
    shutil.copy(folder / "x/boot" / f"vmlinuz-{modules.name}", image.kernel)
    shutil.copytree(modules, tree / "usr/lib/modules" / modules.name, symlinks=True)
    shutil.rmtree(folder)
    return modules.name


def _initramfs(image: Image, modules: Path) -> None:
    folder = image.folder / "initramfs.d"
    (folder / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "bin/busybox")
    for name in _MODULES:
        found = next(iter(modules.rglob(f"{name}.ko")), None)
        if found is not None:  # else it is built in
            shutil.copy(found, folder)
    (folder / "init").write_text(_INIT.format(modules=" ".join(_MODULES)))
    (folder / "init").chmod(0o755)
    _run("sh", "-c", f"find . | busybox cpio -o -H newc >{image.initramfs}", folder=folder)
    shutil.rmtree(folder)


def _run(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "; ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise MachineLacks(f"{' '.join(command[:3])} … ended with {done.returncode}: {said}")
    return done.stdout
