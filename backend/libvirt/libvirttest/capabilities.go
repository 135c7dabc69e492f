package libvirttest

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// What libvirtd finds out about the installed qemus takes it most of its first start; it is kept between
// daemons. libvirtd checks itself whether it still holds.

func capabilityCache() string {
	return filepath.Join(os.TempDir(), "berth-libvirt-caps-"+strconv.Itoa(os.Getuid()))
}

func copyCapabilities(from, to string) {
	files, _ := filepath.Glob(filepath.Join(from, "*.xml"))
	for _, f := range files {
		dst := filepath.Join(to, filepath.Base(f))
		if _, err := os.Stat(dst); err == nil {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		tmp, err := os.CreateTemp(to, ".caps-*")
		if err != nil {
			return
		}
		_, werr := tmp.Write(b)
		cerr := tmp.Close()
		if werr != nil || cerr != nil || os.Chmod(tmp.Name(), 0o644) != nil || os.Rename(tmp.Name(), dst) != nil {
			_ = os.Remove(tmp.Name())
		}
	}
}

func (d *Daemon) saveCapabilities() {
	cache := capabilityCache()
	if err := os.Mkdir(cache, 0o700); err != nil && !os.IsExist(err) || !ownFolder(cache) {
		return
	}
	copyCapabilities(filepath.Join(d.Dir, "cache", "libvirt", "qemu", "cache", "capabilities"), cache)
}

// ownFolder reports whether it is a folder of this user's: the name is known to all.
func ownFolder(path string) bool {
	fi, err := os.Lstat(path)
	if err != nil || !fi.IsDir() {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}
