#!/bin/sh
# build.sh NAME…: builds test guests (tiny, deaf, fast, cloud) from Debian packages and prints the folder of
# each: vmlinuz, initrd, disk.qcow2, cmdline, user, arch, sha256 (of the disk). A guest that was built by
# these same scripts is not built again. Exit 77: a program that is needed is missing.
set -eu
export LC_ALL=C # the words of tools are read
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
if [ -n "${BERTH_GUESTS:-}" ]; then cache=$BERTH_GUESTS
elif [ -n "${XDG_CACHE_HOME:-}" ]; then cache=$XDG_CACHE_HOME/berth-guests
elif [ "$(id -u)" = 0 ]; then cache=/var/cache/berth-guests # not in /root: libvirtd runs as another user
else cache=$HOME/.cache/berth-guests; fi

need() { for p in "$@"; do command -v "$p" >/dev/null || { echo "build.sh: $p is not installed" >&2; exit 77; }; done; }
need apt-get dpkg-deb flock sha256sum depmod cpio zstd mkfs.ext4 qemu-img
mkdir -p "$cache"; chmod 755 "$cache"
umask 022
hash=$(cat "$here"/* | sha256sum | cut -c1-16)
export BERTH_GUESTS_CACHE="$cache" BERTH_GUESTS_HASH="$hash"

guest() { # guest NAME: builds it unless it is there
  out=$cache/$1-$hash
  [ -d "$out" ] && return
  ( flock 9
    [ -d "$out" ] && exit 0
    tmp=$(mktemp -d "$cache/.build-$1-XXXXXX"); trap 'rm -rf "$tmp"' EXIT
    chmod 755 "$tmp"; mkdir "$tmp/out" "$tmp/work"
    sh "$here/make-$1.sh" "$here" "$tmp/work" "$tmp/out" >&2
    [ ! -f "$tmp/out/disk.qcow2" ] || sha256sum "$tmp/out/disk.qcow2" | cut -d' ' -f1 > "$tmp/out/sha256"
    chmod -R a+rX "$tmp/out"
    mv "$tmp/out" "$out"
    # What older scripts built.
    for old in "$cache/$1"-*; do [ "$old" = "$out" ] || [ "$(find "$old" -maxdepth 0 -mtime +7)" = "" ] || rm -rf "$old"; done
  ) 9>"$cache/.lock-$1"
}
for name in "$@"; do
  case $name in
  tiny|deaf) guest base; guest $name ;;
  fast|cloud) need mmdebstrap; guest base; guest $name ;;
  *) echo "build.sh: there is no guest $name" >&2; exit 2 ;;
  esac
  echo "$cache/$name-$hash"
done
