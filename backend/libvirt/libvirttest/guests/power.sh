#!/bin/sh
# poweroff, reboot, halt and shutdown for guests whose init is a script.
do=poweroff
case $0 in *reboot) do=reboot ;; esac
for a in "$@"; do case $a in -r|--reboot) do=reboot ;; -h|-P|-H|--poweroff|--halt) do=poweroff ;; -c) exit 0 ;; esac; done
[ -z "$BERTH_POWER" ] || { trap '' TERM HUP INT; B=/bin/busybox; kill -TERM -1; $B sleep 0.5; kill -KILL -1; $B sync; $B mount -o remount,ro /persist 2>/dev/null; $B mount -o remount,ro / 2>/dev/null; $B $do -f; }
# In a session of its own, so that the caller's end does not end it.
BERTH_POWER=1 /bin/busybox setsid /bin/busybox sh "$0" "$@" </dev/null >/dev/null 2>&1 &
exit 0
