#!/bin/sh
[ "$1" = bound ] || exit 0
/bin/busybox ip addr add $ip/${mask:-24} dev $interface
[ -z "$router" ] || /bin/busybox ip route add default via $router
for d in $dns; do echo "nameserver $d"; done > /etc/resolv.conf
