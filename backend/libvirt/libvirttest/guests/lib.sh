# lib.sh: sourced by the make scripts.
base=$BERTH_GUESTS_CACHE/base-$BERTH_GUESTS_HASH
v=$(cat "$base/version")
quiet="quiet loglevel=3 mitigations=off nokaslr panic=-1"
case $(dpkg --print-architecture) in arm64) console=ttyAMA0 ;; *) console=ttyS0 ;; esac

# ramdisk DIR: a tree with busybox and the modules that a guest in qemu needs.
ramdisk() {
  for d in bin sbin etc proc sys dev run tmp root mnt newroot usr/bin usr/sbin var/log var/run; do mkdir -p "$1/$d"; done
  cp "$base/busybox" "$1/bin/"
  for a in $("$base/busybox" --list); do [ "$a" = busybox ] || ln -sf busybox "$1/bin/$a"; done
  # modules.dep names what each module needs.
  for m in virtio_pci virtio_blk virtio_net virtio_console virtio_scsi sr_mod virtio-rng isofs nls_iso8859-1 button evdev; do
    f=$(cd "$base/lib/modules/$v" && find . -name "$m.ko*" | head -1 | sed 's,^\./,,')
    [ -n "$f" ] || continue
    for f in $(sed -n "s,^$f:,$f,p" "$base/lib/modules/$v/modules.dep"); do
      mkdir -p "$1/lib/modules/$v/$(dirname "$f")"
      cp "$base/lib/modules/$v/$f" "$1/lib/modules/$v/$f"
    done
  done
  cp "$base/lib/modules/$v/"modules.builtin* "$base/lib/modules/$v/modules.order" "$1/lib/modules/$v/"
  depmod -b "$1" "$v"
}

# pack DIR FILE: the tree as initrd.
pack() { (cd "$1"; find . | cpio -o -H newc --quiet -R 0:0) | zstd -q -3 -f -o "$2"; }

# describe OUT USER CMDLINE
describe() {
  echo "$2" > "$1/user"
  echo "$3" > "$1/cmdline"
  dpkg --print-architecture > "$1/arch"
}

# disk TREE SIZE OUT
disk() {
  truncate -s "$2" "$3.raw"
  mkfs.ext4 -q -F -O ^has_journal -E root_owner=0:0 -L root -d "$1" "$3.raw"
  qemu-img convert -O qcow2 "$3.raw" "$3"
  rm "$3.raw"
}

# pivot OUT: an initrd that boots the root disk.
pivot() {
  mkdir p
  ramdisk p
  install -m 755 "$here/pivot-init" p/init
  pack p "$1/initrd"
  cp "$base/vmlinuz" "$1/"
}

# system OUT PACKAGES HOOK SIZE: a Debian root disk; HOOK (sh, $1 is the root) makes it ready.
system() {
  mode=root helper=
  [ "$(id -u)" = 0 ] || { mode=unshare; helper="mmdebstrap --unshare-helper"; }
  . /etc/os-release
  mmdebstrap --quiet --mode=$mode --variant=minbase --include="$2" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/i18n/*' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id; : > "$1"/etc/machine-id' \
    --customize-hook="here='$here' base='$base' v=$v sh '$3' \"\$1\"" "${BERTH_GUEST_SUITE:-$VERSION_CODENAME}" root.tar
  export base v
  $helper sh -eu -c '
    mkdir r
    tar -xf root.tar -C r --exclude="./dev/*"
    rm root.tar
    . "$0/lib.sh"
    disk r "$1" "$2/disk.qcow2"
    rm -rf r' "$here" "$4" "$1"
}
