// Package libvirttest gives tests a libvirt of their own: an unprivileged session daemon in a folder under
// /tmp, always emulating, and small guests built from Debian packages (guests/build.sh). Nothing of it
// touches the system's libvirt. The kernel's command line of tiny and fast takes berth.test=WORD: panic,
// hang (before the network), nonet (no address), nossh.
package libvirttest
