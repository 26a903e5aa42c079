"""A Debian in an image file, made once and kept: kernel, a small initramfs, and a root file system that has systemd.

The host only unpacks packages into a folder and writes that folder into an image (`mkfs.ext4 -d`): nothing is mounted
and no script of a package runs here. The packages are installed by the machine itself, at its first boot.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import qemu

from sprat.errors import MachineLacks

SUITE: Final = "bookworm"
HUB_NAME: Final = "hub.sprat"
HUB_ADDRESS: Final = "10.0.2.100"
_HERE: Final = Path(__file__).parent
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
_FIRST_BOOT_S: Final = 1500
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
    "etc/dpkg/dpkg.cfg.d/first-boot": "force-unsafe-io\n",
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
    recipe = "\0".join(path.read_text() for path in (Path(__file__), _HERE / "first-boot"))
    want, stamp = hashlib.sha256(recipe.encode()).hexdigest(), kept / "made-from"
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
    _initramfs(image, tree / "lib/modules" / release)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test-board", "-f", str(image.key))
    for name, text in _FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    ours = tree / "root/.ssh"
    ours.mkdir(mode=0o700, parents=True)
    (ours / "authorized_keys").write_text(image.key.with_suffix(".pub").read_text())
    shutil.copy(_HERE / "first-boot", tree / "first-boot")
    _run("mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(tree), str(image.disk), _SIZE)
    shutil.rmtree(tree)
    log = image.folder / "first-boot.log"
    code = qemu.run_to_end(image, init="/first-boot", console=log, limit_s=_FIRST_BOOT_S)
    if code != 0 or "first boot: ended" not in log.read_text(errors="replace"):
        raise MachineLacks(f"the image's first boot ended with {code}; its console is {log}")


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
