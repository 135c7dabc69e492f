package procfile

import (
	"bytes"
	"strings"
)

// Container is the container that a control group belongs to.
type Container struct {
	ID      string // as its engine names it: 64 hexadecimal digits, or the name of an LXC or nspawn container
	Runtime string // "docker", "podman", "containerd", "cri-o", "kubernetes", "lxc", "nspawn"; "" unknown
}

// scopes are how engines name the systemd scope of a container: PREFIX-ID.scope.
var scopes = []struct{ prefix, runtime string }{
	{"docker-", "docker"}, {"libpod-", "podman"}, {"cri-containerd-", "containerd"}, {"crio-", "cri-o"},
	{"nerdctl-", "containerd"},
}

// ContainerOf finds the container in a path of control groups, such as
// "/system.slice/docker-<id>.scope", "/docker/<id>", "/kubepods/burstable/pod<uid>/<id>" or "/lxc.payload.web".
func ContainerOf(path string) (Container, bool) {
	var found Container
	parent, kube := "", strings.Contains(path, "kubepods")
	for part := range strings.SplitSeq(path, "/") {
		name := strings.TrimSuffix(part, ".scope")
		c := Container{}
		for _, s := range scopes {
			if id, ok := strings.CutPrefix(name, s.prefix); ok && isID(id) {
				c = Container{id, s.runtime}
			}
		}
		switch {
		case c.ID != "":
		case isID(name) && (parent == "docker" || parent == "libpod_parent" || parent == "machine.slice" || kube):
			c.ID, c.Runtime = name, map[string]string{"docker": "docker", "libpod_parent": "podman",
				"machine.slice": "podman"}[parent]
			if kube {
				c.Runtime = "kubernetes"
			}
		case strings.HasPrefix(name, "libpod-") && isID(strings.TrimPrefix(name, "libpod-")):
			c = Container{strings.TrimPrefix(name, "libpod-"), "podman"}
		case parent == "lxc" && name != "":
			c = Container{name, "lxc"}
		case strings.HasPrefix(name, "lxc.payload.") && len(name) > len("lxc.payload."):
			c = Container{strings.TrimPrefix(name, "lxc.payload."), "lxc"}
		case strings.HasPrefix(name, "machine-") && part != name: // machine-NAME.scope of systemd-machined
			c = Container{strings.ReplaceAll(strings.TrimPrefix(name, "machine-"), `\x2d`, "-"), "nspawn"}
			if strings.HasPrefix(c.ID, "qemu-") {
				c = Container{} // a virtual machine's own process
			}
		}
		// The innermost counts: a container in a container is what its processes are known by.
		if c.ID != "" {
			found = c
		}
		parent = part
	}
	return found, found.ID != ""
}

func isID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Group is one line of /proc/PID/cgroup. Controllers is empty for version 2.
type Group struct {
	Controllers []string
	Path        string
}

// Groups reads /proc/PID/cgroup.
func Groups(b []byte) []Group {
	var out []Group
	for len(b) > 0 {
		var line []byte
		line, b = Line(b)
		f := bytes.SplitN(line, []byte(":"), 3)
		if len(f) != 3 {
			continue
		}
		g := Group{Path: string(f[2])}
		if len(f[1]) > 0 {
			g.Controllers = strings.Split(string(f[1]), ",")
		}
		out = append(out, g)
	}
	return out
}

// ContainerOfGroups finds the container in the content of /proc/PID/cgroup.
func ContainerOfGroups(b []byte) (Container, bool) {
	for _, g := range Groups(b) {
		if c, ok := ContainerOf(g.Path); ok {
			return c, true
		}
	}
	return Container{}, false
}
