package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	job "berth/backend/agent/container"
	"berth/backend/base/peercred"
)

// create makes the container of a run. One that is there already has been made for the same run.
func (e *engine) create(ctx context.Context, spec job.Spec, command, env []string) (warnings []string, err error) {
	devices, err := e.devices(ctx, spec)
	if err != nil {
		return nil, err
	}
	init, err := e.init(ctx)
	if err != nil {
		return nil, err
	}
	id := e.identity()
	c := &container.Config{Image: spec.Image, Cmd: command, Env: e.environment(spec, env, id, devices),
		WorkingDir: spec.Workdir, User: id.user, Labels: spec.Label}
	h := &container.HostConfig{
		LogConfig:   e.log(),
		ShmSize:     spec.Shm,
		GroupAdd:    id.groups,
		UsernsMode:  container.UsernsMode(id.userns),
		SecurityOpt: security(),
		Init:        init,
		NetworkMode: container.NetworkMode(spec.Network),
		Resources: container.Resources{Memory: spec.Memory, MemorySwap: spec.Memory, NanoCPUs: int64(spec.CPUs) * 1e9,
			DeviceRequests: devices},
	}
	for _, dir := range mounted(spec.Mounts) {
		h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeBind, Source: dir, Target: dir})
	}
	res, err := e.ContainerCreate(ctx, client.ContainerCreateOptions{Name: spec.Name, Config: c, HostConfig: h})
	if errdefs.IsConflict(err) || err != nil && strings.Contains(err.Error(), "already in use") { // Podman 4's word for it
		return nil, nil
	}
	return res.Warnings, err
}

// log has the engine keep the whole log: that of this instance may be set to drop the oldest of it, or to keep none.
func (e *engine) log() container.LogConfig {
	if e.podman() {
		return container.LogConfig{Type: k8sFile}
	}
	return container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "-1"}}
}

// identity is whom a container runs as, so that what it writes into the user's folders is the user's.
type identity struct {
	user, userns string
	groups       []string
	root         bool // inside
}

func (e *engine) identity() identity {
	uid, gid := os.Getuid(), os.Getgid()
	own := identity{user: strconv.Itoa(uid) + ":" + strconv.Itoa(gid), root: uid == 0}
	if uid == 0 {
		return own
	}
	rootless := e.owner() == uid
	if rootless && !e.podman() { // its root is the user
		return identity{user: "0:0", root: true}
	}
	if rootless {
		own.userns = "keep-id"
		return own
	}
	if groups, err := os.Getgroups(); err == nil {
		for _, g := range groups {
			if g != gid {
				own.groups = append(own.groups, strconv.Itoa(g))
			}
		}
	}
	return own
}

// owner is the user whose engine it is; -1: it can't be told.
func (e *engine) owner() int {
	path, local := strings.CutPrefix(e.host, socket)
	if !local {
		return -1
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return -1
	}
	defer c.Close()
	uid, err := peercred.UID(c)
	if err != nil {
		return -1
	}
	return uid
}

// environment is what the program in a container gets beside what its image sets.
func (e *engine) environment(spec job.Spec, given []string, id identity, devices []container.DeviceRequest) []string {
	env := slices.Clone(given)
	has := func(name string) bool {
		return slices.ContainsFunc(given, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	}
	if !id.root && spec.Home != "" && !has("HOME") {
		env = append(env, "HOME="+spec.Home) // else it is /, where nobody may write
	}
	// Images of NVIDIA's say "all", which a runtime of NVIDIA's obeys where nothing else is said.
	if spec.NoGPUs || len(devices) > 0 && devices[0].Driver == "cdi" {
		env = append(env, "NVIDIA_VISIBLE_DEVICES=void")
	}
	return env
}

// init has a process stand before the program that hands signals on and waits for orphans, where the engine has one: a
// program with the number 1 gets no signal that it does not ask for.
func (e *engine) init(ctx context.Context) (*bool, error) {
	yes := true
	if !e.podman() {
		info, err := e.Info(ctx, client.InfoOptions{})
		if err != nil {
			return nil, fmt.Errorf("asking the engine what it has: %w", err)
		}
		if info.Info.InitBinary == "" {
			return nil, nil
		}
		return &yes, nil
	}
	for _, path := range []string{"/usr/libexec/podman/catatonit", "/usr/local/libexec/podman/catatonit",
		"/usr/local/lib/podman/catatonit", "/usr/lib/podman/catatonit", "/usr/bin/catatonit"} {
		if _, err := os.Stat(path); err == nil {
			return &yes, nil
		}
	}
	return nil, nil
}

// security lets the container use the user's folders under SELinux, which else keeps them from it.
func security() []string {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err != nil {
		return nil
	}
	return []string{"label=disable"}
}

// mounted are the folders to mount, each once, outer ones first.
func mounted(dirs []string) (out []string) {
	for _, d := range dirs {
		if d != "" {
			out = append(out, filepath.Clean(d))
		}
	}
	slices.SortFunc(out, func(a, b string) int { return len(a) - len(b) })
	slices.SortStableFunc(out, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(d string) bool {
		was := seen[d]
		seen[d] = true
		return was
	})
}
