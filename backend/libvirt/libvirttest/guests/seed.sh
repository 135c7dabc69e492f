# seed.sh: reads the NoCloud seed that Berth writes, for guests without cloud-init. Sourced.

# seed_mount DIR: mounts the seed there; fails if there is none.
seed_mount() {
  for d in /dev/vd? /dev/sr?; do
    [ -b $d ] || continue
    mount -t iso9660 -o ro $d $1 2>/dev/null || continue
    [ -f $1/meta-data ] && return 0
    umount $1
  done
  return 1
}

# text: takes the quotes and escapes of quoted words away, one a line.
text() { sed 's/^"\(.*\)" *$/\1/; s/\\"/"/g' | while IFS= read -r l; do printf '%b\n' "$l"; done; }

# seed_value KEY FILE: the first value of that key.
seed_value() { sed -n "s/^[- ]*$1: *//p" "$2" | head -n 1 | text; }

# seed_keys FILE: the authorized keys.
seed_keys() { awk '/^ *ssh_authorized_keys:/ { k = 1; next } k && /^ *- "/ { sub(/^ *- /, ""); print; next } { k = 0 }' "$1" | text; }

# asked WORD: whether the kernel's command line has berth.test=WORD.
asked() { case " $(cat /proc/cmdline) " in *" berth.test=$1 "*) return 0 ;; esac; return 1; }

# misbehave: what a test asked for on the kernel's command line.
misbehave() {
  if asked panic; then echo "guest: panic, as asked" > /dev/console; echo c > /proc/sysrq-trigger; fi
  if asked hang; then echo "guest: hangs, as asked" > /dev/console; while :; do sleep 1000; done; fi
}
