#!/bin/sh
# fast: Debian with OpenSSH, sudo and cron but without systemd; its init is a script.
set -eu
here=$1 work=$2 out=$3
. "$here/lib.sh"
cd "$work"
pivot "$out"
cat > hook <<'H'
set -eu
cp -r "$base/lib/modules" "$1/lib/"
cp "$base/busybox" "$1/bin/busybox"
install -m 755 "$here/fast-init" "$1/sbin/fast-init"
install -m 755 "$here/udhcpc.sh" "$1/etc/udhcpc.sh"
install -m 644 "$here/seed.sh" "$1/etc/seed.sh"
for s in poweroff reboot halt shutdown; do install -m 755 "$here/power.sh" "$1/sbin/$s"; done
mkdir -p "$1/etc/acpi/PWRF"
printf '#!/bin/sh\nexec /sbin/poweroff\n' > "$1/etc/acpi/PWRF/00000080"
chmod 755 "$1/etc/acpi/PWRF/00000080"
printf 'UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nHostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\n' > "$1/etc/ssh/sshd_config.d/berth.conf"
H
system "$out" openssh-server,sudo,cron,iproute2,kmod,tmux,rsync,procps,curl,ca-certificates,qemu-guest-agent hook 3G
describe "$out" berth "console=$console root=/dev/vda rw $quiet"
