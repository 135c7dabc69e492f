#!/bin/sh
# tiny: kernel, busybox and dropbear in RAM; what must outlive a restart is on a small disk.
set -eu
here=$1 work=$2 out=$3
. "$here/lib.sh"
cd "$work"
mkdir t
ramdisk t
mkdir -p t/etc/acpi/PWRF t/etc/dropbear t/usr/local/bin t/lib t/persist t/home
cp "$base/dropbear/dropbear" t/usr/sbin/
cp "$base/dropbear/dropbearkey" "$base/dropbear/dropbearconvert" t/usr/bin/
loader=$(cat "$base/dropbear/loader")
mkdir -p "t/$(dirname "$loader")" "t/lib/$(uname -m)-linux-gnu"
cp "$base/dropbear/lib/"*.so.* "t/lib/$(uname -m)-linux-gnu/"
cp "$base/dropbear/lib/$(basename "$loader")" "t/$loader"
install -m 755 "$here/tiny-init" t/init
install -m 755 "$here/udhcpc.sh" t/etc/udhcpc.sh
install -m 644 "$here/seed.sh" t/etc/seed.sh
install -m 755 "$here/crontab.sh" t/usr/local/bin/crontab
install -m 755 "$here/sudo.sh" t/usr/bin/sudo
for s in poweroff reboot halt shutdown; do rm -f t/bin/$s; install -m 755 "$here/power.sh" t/sbin/$s; done
[ -n "${DEAF:-}" ] || printf '#!/bin/sh\nexec /sbin/poweroff\n' > t/etc/acpi/PWRF/00000080
[ -n "${DEAF:-}" ] || chmod 755 t/etc/acpi/PWRF/00000080
[ -z "${DEAF:-}" ] || : > t/etc/deaf
pack t "$out/initrd"
cp "$base/vmlinuz" "$out/"
mkdir -m 755 p
disk p 1G "$out/disk.qcow2"
describe "$out" berth "console=$console $quiet"
