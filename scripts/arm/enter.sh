#!/bin/sh
# enter.sh ROOT CPUINFO WORK CPU PROGRAM [ARGUMENT…]: run a program of another architecture inside a userland.
#
# A user and a mount namespace of its own hold all that is mounted here and, since Linux 6.7, the registration of qemu
# too: both end with the program, whatever ends it. The program keeps this process's id, so a signal to it arrives.
# The userland is read-only inside; only WORK (at the same path as outside) and /tmp can be written.
set -eu
if [ "${1:-}" != --inside ]; then
  exec unshare --user --map-root-user --mount -- "$0" --inside "$@"
fi
root=$2 cpuinfo=$3 work=$4 cpu=$5
shift 5
binfmt=/proc/sys/fs/binfmt_misc
if [ ! -e $binfmt/qemu-aarch64 ] || [ ! -e $binfmt/qemu-arm ]; then
  mount -t binfmt_misc binfmt_misc $binfmt || {
    echo "qemu is not registered and this kernel ($(uname -r)) lets only the host do it (Linux >= 6.7 would):" \
      "systemctl restart systemd-binfmt" >&2
    exit 4
  }
  for kind in aarch64 arm; do cat "/usr/lib/binfmt.d/qemu-$kind.conf" >$binfmt/register; done
fi
mount --bind "$root" "$root"
# The runtimes look for cores in /sys and read /proc/cpuinfo: without /sys tflite-runtime rounds differently, with the
# host's cpuinfo ONNX Runtime and LiteRT crash.
for folder in proc sys dev; do mount --rbind /$folder "$root/$folder"; done
mount --bind "$cpuinfo" "$root/proc/cpuinfo"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root$work"
mount --bind "$work" "$root$work"
mount -o remount,bind,ro "$root"
# Nothing of the host's environment: a board would not have it either.
exec env -i QEMU_CPU="$cpu" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin HOME=/tmp TMPDIR=/tmp LANG=C.UTF-8 \
  PYTHONDONTWRITEBYTECODE=1 chroot "$root" "$@"
