package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

// pingLimit is how long an engine may take to answer at all.
const pingLimit = 10 * time.Second

// problem is an error that is for the user, with what to do next.
type problem struct {
	message, hint string
	usage         bool // what was asked for is wrong
}

func (p *problem) Error() string { return p.message }

// engine is a container engine that answers.
type engine struct {
	*client.Client
	host string // where it listens: unix:///run/podman/podman.sock
	kind string // what it says that it is: "Docker/28.0.1 (linux)", "Libpod/5.4.0 (linux)"
}

// podman reports that the engine is Podman.
func (e *engine) podman() bool { return strings.HasPrefix(e.kind, "Libpod/") }

// newer reports that the engine's own version is at least this one.
func (e *engine) newer(major, minor int) bool {
	_, v, _ := strings.Cut(e.kind, "/")
	first, rest, _ := strings.Cut(v, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(first)
	b, err2 := strconv.Atoi(second)
	return err == nil && err2 == nil && (a > major || a == major && b >= minor)
}

const socket = "unix://"

// places are where an engine may listen, in the order in which they are tried. Where one is named, it is the only one.
func places(set string, getenv func(string) string) (out []string, named bool) {
	for _, v := range []string{set, getenv("DOCKER_HOST"), getenv("CONTAINER_HOST")} {
		if filepath.IsAbs(v) {
			v = socket + v
		}
		if v != "" {
			return []string{v}, true
		}
	}
	out = append(out, socket+"/var/run/docker.sock")
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		out = append(out, socket+filepath.Join(dir, "podman/podman.sock"), socket+filepath.Join(dir, "docker.sock"))
	}
	return append(out, socket+"/run/podman/podman.sock"), false
}

// find connects to the first engine that answers. Its error is a problem.
func find(ctx context.Context, set string, getenv func(string) string) (*engine, error) {
	list, named := places(set, getenv)
	var closed error
	for _, host := range list {
		path, local := strings.CutPrefix(host, socket)
		if _, err := os.Stat(path); local && errors.Is(err, fs.ErrNotExist) && !named {
			continue
		}
		e, err := connect(ctx, host)
		if err == nil {
			return e, nil
		}
		if closed == nil {
			closed = unreached(host, err)
		}
	}
	if closed != nil {
		return nil, closed
	}
	return nil, &problem{message: "there is no container engine on this instance: no socket at " +
		strings.ReplaceAll(strings.Join(list, ", "), socket, ""),
		hint: "install Docker or Podman there (Podman: systemctl --user enable --now podman.socket), or name its socket: " +
			"berth set NAME jobs.container_engine=/path"}
}

// connect asks the engine that listens at a place for its version.
func connect(ctx context.Context, host string) (*engine, error) {
	e := &engine{host: host}
	c, err := client.New(client.WithHost(host), client.WithUserAgent("berth"),
		client.WithHTTPResponseHook(func(r *http.Response) {
			if s := r.Header.Get("Server"); s != "" && e.kind == "" {
				e.kind = s
			}
		}))
	if err != nil {
		return nil, err
	}
	e.Client = c
	limited, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	if _, err := c.Ping(limited, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		_ = c.Close()
		return nil, err
	}
	return e, nil
}

// unreached says why an engine can't be reached.
func unreached(host string, err error) error {
	path, local := strings.CutPrefix(host, socket)
	p := &problem{message: fmt.Sprintf("the container engine at %s can't be reached: %v", host, err),
		hint: "is it running? systemctl status docker, or podman.socket, says so"}
	fi, serr := os.Stat(path)
	switch {
	case !local:
	case errors.Is(serr, fs.ErrNotExist):
		p.message = "the container engine can't be reached: there is no socket " + path
	case errors.Is(err, fs.ErrPermission) || errors.Is(serr, fs.ErrPermission) ||
		strings.Contains(err.Error(), "permission denied"):
		p.message = fmt.Sprintf("you may not use the container engine at %s: permission denied", path)
		p.hint = "an administrator can allow it"
		if serr == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				name := strconv.Itoa(int(st.Gid))
				if g, err := user.LookupGroupId(name); err == nil {
					name = g.Name
				}
				p.hint = fmt.Sprintf("its group %s may: sudo usermod -aG %s %s, and log in anew", name, name, userName())
			}
		}
	}
	return p
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "USER"
}
