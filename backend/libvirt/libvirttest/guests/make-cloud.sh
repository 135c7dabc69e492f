#!/bin/sh
# cloud: Debian with systemd and cloud-init, cut to what starts fast under emulation.
set -eu
here=$1 work=$2 out=$3
. "$here/lib.sh"
cd "$work"
pivot "$out"
cat > hook <<'H'
set -eu
cp -r "$base/lib/modules" "$1/lib/"
mkdir -p "$1/etc/systemd/network" "$1/etc/cloud/cloud.cfg.d"
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n' > "$1/etc/systemd/network/10-berth.network"
cat > "$1/etc/cloud/cloud.cfg.d/90-test.cfg" <<'C'
datasource_list: [NoCloud]
network: {config: disabled}
ssh_genkeytypes: [ed25519]
cloud_init_modules: [bootcmd, write-files, growpart, resizefs, set-hostname, update-etc-hosts, users-groups, ssh]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
C
for u in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer \
  systemd-networkd-wait-online.service getty@tty1.service systemd-pstore.service systemd-timesyncd.service; do
  ln -sf /dev/null "$1/etc/systemd/system/$u"
done
chroot "$1" systemctl -q enable systemd-networkd ssh
chroot "$1" systemctl -q disable systemd-resolved 2>/dev/null || true
rm -f "$1/etc/resolv.conf"; echo 'nameserver 10.0.2.3' > "$1/etc/resolv.conf"
rm -f "$1/etc/hostname"
: > "$1/etc/fstab"
H
system "$out" systemd,systemd-sysv,dbus,libpam-systemd,polkitd,openssh-server,sudo,cloud-init,cloud-guest-utils,qemu-guest-agent,iproute2,kmod,udev,procps,tmux,rsync,netbase,ca-certificates,curl hook 4G
describe "$out" berth "console=$console root=/dev/vda rw $quiet systemd.show_status=0"
