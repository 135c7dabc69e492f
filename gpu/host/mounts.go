package host

import (
	"path"
	"slices"
	"strings"

	"berth/gpu/host/procfile"
)

// Mount is one line of /proc/self/mountinfo.
type Mount procfile.Mount

func parseMountinfo(b []byte) []Mount {
	all := procfile.Mounts(b)
	out := make([]Mount, len(all))
	for i, m := range all {
		out[i] = Mount(m)
	}
	return out
}

// pseudo have no space of their own; full are the images that are full by design.
var (
	pseudo = words("autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fuse.gvfsd-fuse fuse.lxcfs fuse.portal fusectl hugetlbfs ignore kernfs mqueue none nsfs pipefs proc pstore ramfs resctrl rootfs rpc_pipefs securityfs selinuxfs smackfs sockfs subfs sysfs tracefs")
	full   = words("squashfs fuse.squashfuse fuse.snapfuse iso9660 udf cramfs romfs erofs")
	shares = words("nfs nfs4 cifs smb3 smbfs smb2 ncpfs afs ceph fuse.ceph glusterfs fuse.glusterfs lustre gpfs beegfs beegfs_nodev pvfs2 orangefs 9p virtiofs fuse.sshfs fuse.s3fs fuse.gcsfuse fuse.rclone fuse.goofys fuse.blobfuse fuse.blobfuse2 fuse.juicefs fuse.mount-s3 fuse.davfs davfs coda ocfs2 gfs2 wekafs nfsd")
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		m[w] = true
	}
	return m
}

// Nothing below kernels has space that anybody could use up. Engines mount what is theirs below engines: layers and
// memory; a disk that somebody mounted there is a disk.
var (
	kernels = []string{"/proc", "/sys", "/dev/pts", "/var/lib/lxcfs"}
	engines = []string{"/run", "/var/run", "/var/lib/docker", "/var/lib/containers", "/var/lib/containerd",
		"/var/lib/kubelet", "/var/lib/rancher"}
	theirs = words("overlay aufs tmpfs fuse.fuse-overlayfs fuse-overlayfs shiftfs fuse")
)

func belowAny(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return below(p, d) })
}

// Network reports whether the file system is a share: another machine has to answer for it.
func (m Mount) Network() bool {
	return shares[m.Type] || strings.HasPrefix(m.Source, "//") || (strings.HasPrefix(m.Type, "fuse") &&
		strings.Contains(m.Source, ":"))
}

// ReadOnly reports whether nothing can be written through this mount.
func (m Mount) ReadOnly() bool { return hasOption(m.Options, "ro") || hasOption(m.Super, "ro") }

// AllOptions are the mount's and the file system's, each once, as mount(8) shows them.
func (m Mount) AllOptions() string {
	if m.Type == "overlay" || m.Super == "" { // an overlay's are its layers: kilobytes
		return m.Options
	}
	out := strings.Split(m.Options, ",")
	for o := range strings.SplitSeq(m.Super, ",") {
		if o != "rw" && o != "ro" && !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	if m.ReadOnly() && out[0] == "rw" {
		out[0] = "ro"
	}
	return strings.Join(out, ",")
}

func hasOption(list, o string) bool {
	for x := range strings.SplitSeq(list, ",") {
		if x == o {
			return true
		}
	}
	return false
}

func below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// Visible leaves what df shows: file systems with space, each once, none that another mount covers.
func Visible(all []Mount) []Mount {
	hidden := covered(all)
	best := map[string]int{}
	var out []Mount
	for i, m := range all {
		if hidden[i] || pseudo[m.Type] || full[m.Type] {
			continue
		}
		if belowAny(m.Point, kernels) || theirs[m.Type] && belowAny(m.Point, engines) {
			continue
		}
		if m.Type == "tmpfs" && below(m.Point, "/dev") && m.Point != "/dev/shm" {
			continue
		}
		key := m.Device + "\x00" + m.Type
		j, seen := best[key]
		if !seen {
			best[key] = len(out)
			out = append(out, m)
		} else if better(m, out[j]) {
			out[j] = m
		}
	}
	slices.SortStableFunc(out, func(a, b Mount) int { return strings.Compare(a.Point, b.Point) })
	return out
}

// better: the whole file system before a part of it that is bound somewhere, then the shorter path.
func better(a, b Mount) bool {
	if (a.Root == "/") != (b.Root == "/") {
		return a.Root == "/"
	}
	return len(a.Point) < len(b.Point)
}

// covered finds the mounts that can't be reached: another one lies on them or on a folder above.
func covered(all []Mount) []bool {
	type place struct {
		parent int
		point  string
	}
	out := make([]bool, len(all))
	byID, at := make(map[int]int, len(all)), make(map[place]int, len(all))
	for i, m := range all {
		byID[m.ID] = i
		at[place{m.Parent, m.Point}] = i
	}
	for i, m := range all {
		if j, ok := at[place{m.ID, m.Point}]; ok && j != i {
			out[i] = true
		}
		for dir := path.Dir(m.Point); len(dir) > 1; dir = path.Dir(dir) {
			if _, ok := at[place{m.Parent, dir}]; ok {
				out[i] = true
			}
		}
	}
	// What lies in a mount that can't be reached can't be reached either, but for what covers it.
	for i := range all {
		for j, n := i, 0; n < len(all); n++ {
			p, ok := byID[all[j].Parent]
			if !ok || p == j {
				break
			}
			if out[p] && all[p].Point != all[j].Point {
				out[i] = true
				break
			}
			j = p
		}
	}
	return out
}
