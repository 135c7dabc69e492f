package filecopy

import (
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// bootID tells this host, since it was booted, from all others. It is empty where it can't be read.
var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

// placeOf says which folder one is, to whoever is on the same host.
func placeOf(st *unix.Stat_t) place { return place{host: bootID(), dev: st.Dev, ino: st.Ino} }
