#!/bin/sh
# The kernel, its modules, busybox and dropbear, unpacked: what the other guests are made of.
set -eu
here=$1 work=$2 out=$3
cd "$work"
arch=$(dpkg --print-architecture)
kernel() { apt-cache depends "linux-image-cloud-$arch" 2>/dev/null | awk '/Depends:/{print $2; exit}'; }
k=$(kernel)
[ -n "$k" ] || { apt-get update -qq; k=$(kernel); }
get() { apt-get download -qq -o APT::Sandbox::User=root "$k" busybox-static dropbear-bin libtomcrypt1 libtommath1 libcrypt1 zlib1g libgmp10 libc6 </dev/null; }
get || { apt-get update -qq; k=$(kernel); get; }
mkdir x
for d in *.deb; do dpkg-deb -x "$d" x; done
v=${k#linux-image-}
mkdir -p "$out/lib/modules/$v" "$out/dropbear/lib"
cp "x/boot/vmlinuz-$v" "$out/vmlinuz"
echo "$v" > "$out/version"
# Drivers of real hardware are of no use in a guest.
mv "x/lib/modules/$v/"* "$out/lib/modules/$v/"
depmod -b "$out" "$v"
mv x/bin/busybox "$out/"
mv x/usr/sbin/dropbear x/usr/bin/dropbearkey x/usr/bin/dropbearconvert "$out/dropbear/"
loader=$(find x/lib x/lib64 -maxdepth 1 -name 'ld-linux*' 2>/dev/null | head -1)
cp -L "$loader" "$out/dropbear/lib/"
echo "${loader#x}" > "$out/dropbear/loader"
for l in libc.so.6 libcrypt.so.1 libz.so.1 libtomcrypt.so.1 libtommath.so.1 libgmp.so.10; do
  cp -L "$(find x/lib x/usr/lib -name $l | head -1)" "$out/dropbear/lib/"
done
