#!/bin/sh
# crontab for busybox's crond, with the answers of the usual one.
f=/var/spool/cron/crontabs/$(id -un)
case ${1:--} in
-l) [ -f "$f" ] || { echo "no crontab for $(id -un)" >&2; exit 1; }; exec cat "$f" ;;
-r) exec rm -f "$f" ;;
-) exec cat > "$f" ;;
*) exec cat "$1" > "$f" ;;
esac
