package ssh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"berth/backend"
	"berth/backend/api"
)

// homeScript says where on a host Berth's things can be: those of this user $u, in the home $s, else in a folder of
// that home's own, $k. mine tells whether a folder there is this user's, and not what somebody else put there first.
const homeScript = `u=$(id -u)
s="${XDG_STATE_HOME:-$HOME/.local/state}/berth"
k=$(printf %s "$BERTH_HOME:$s" | cksum 2>/dev/null)
k=home-${k%% *}
mine() { [ ! -L "$1" ] && [ -n "$(find "$1" -prune -user "$u" 2>/dev/null)" ]; }
`

// lookScript prints the system, the architecture and the folder for programs: the first that can be written to and runs
// programs, with why the ones before it do not. It is to be gone on from: the folder is $found, and Berth's in the home
// $s. What is made above that is noted in it, for who removes it. Outside the home each home of a user has a folder of
// its own, as it has a socket of its own. What programs of the user make there is not under 077, but under $mask.
const lookScript = `mask=$(umask)
umask 077
found=
echo "os $(uname -s)"
echo "arch $(uname -m)"
` + homeScript + `drop() { rmdir "$d" "${d%/bin}" $made 2>/dev/null; }
for d in "$s/bin" "/var/tmp/berth-$u/$k/bin" "/tmp/berth-$u/$k/bin" "/dev/shm/berth-$u/$k/bin"; do
	case $d in /*) ;; *) echo "no $d: it is not an absolute path"; continue ;; esac
	made=
	[ "$d" = "$s/bin" ] && p=$s && while p=${p%/*}; [ -n "$p" ] && [ ! -e "$p" ]; do made="$made$p
"; done
	if ! mkdir -p "$d" 2>/dev/null; then echo "no $d: it can not be made"; continue; fi
	own=y
	p=${d%/bin}
	case $p in "$s") set -- "$p" ;; *) set -- "$p" "${p%/*}" ;; esac
	for p in "$@"; do
		mine "$p" || own=
	done
	if [ -z "$own" ]; then drop; echo "no $d: it belongs to somebody else"; continue; fi
	t="$d/.probe.$$"
	if ! { printf '#!/bin/sh\necho runs\n' >"$t" && chmod 700 "$t"; } 2>/dev/null; then rm -f "$t" 2>/dev/null; drop; echo "no $d: it can not be written to"; continue; fi
	r=$("$t" 2>/dev/null)
	rm -f "$t"
	if [ "$r" != runs ]; then drop; echo "no $d: programs can not be run there (noexec)"; continue; fi
	if [ -n "$made" ]; then printf %s "$made" >"$s/.made"; fi
	echo "dir $d"
	found=$d
	break
done`

// look is what lookScript found out.
type look struct {
	goos, goarch string
	system       string // as uname says
	dir          string
	no           []string
}

// parseLook reads lookScript's output.
func parseLook(out string) look {
	var l look
	var osName, arch string
	for line := range strings.SplitSeq(out, "\n") {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r"), " ")
		switch key {
		case "os":
			osName = strings.TrimSpace(value)
		case "arch":
			arch = strings.TrimSpace(value)
		case "dir":
			if path.IsAbs(value) {
				l.dir = value
			}
		case "no":
			l.no = append(l.no, oneLine(value))
		}
	}
	l.system = oneLine(osName + " " + arch)
	l.goos, l.goarch = goNames(osName, arch)
	return l
}

// goNames turns what uname says into Go's names; "" for what Go does not build for.
func goNames(osName, arch string) (goos, goarch string) {
	switch strings.ToLower(osName) {
	case "linux":
		goos = "linux"
	case "darwin":
		goos = "darwin"
	case "freebsd":
		goos = "freebsd"
	}
	switch a := strings.ToLower(arch); a {
	case "x86_64", "amd64", "x64":
		goarch = "amd64"
	case "aarch64", "arm64", "armv8l", "armv8b":
		goarch = "arm64"
	case "i386", "i486", "i586", "i686", "x86":
		goarch = "386"
	case "armv6l", "armv7l", "armhf":
		goarch = "arm"
	case "ppc64le", "s390x", "riscv64", "loong64":
		goarch = a
	}
	return goos, goarch
}

// unavailable says why there can be no agent.
func unavailable(format string, a ...any) error {
	return &backend.AgentUnavailable{Reason: fmt.Sprintf(format, a...)}
}

// choose says which program of the agent belongs on the host. What the host is, is known where it was looked at before.
func (c *Conn) choose(ctx context.Context) (*program, error) {
	l := c.system.Load()
	if l == nil {
		out, err := c.script(ctx, `echo "os $(uname -s)"; echo "arch $(uname -m)"`)
		if errors.Is(err, errNoShell) {
			return nil, unavailable("%v", err)
		} else if err != nil {
			return nil, fmt.Errorf("looking around on %s: %w", c.t.where(), err)
		}
		l = new(parseLook(out))
		c.system.Store(l)
	}
	if l.goos == "" || l.goarch == "" {
		return nil, unavailable("there is no agent for its system (%s)", l.system)
	}
	b, err := c.m.program(ctx, l.goos, l.goarch)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, unavailable("%v", err)
	}
	return b, nil
}

// placeAgent puts the agent in place, if it is not there, and starts it, if it does not run.
func (c *Conn) placeAgent(ctx context.Context) (*placement, api.AgentInfo, error) {
	none := api.AgentInfo{}
	b, err := c.choose(ctx)
	if err != nil {
		return nil, none, err
	}
	flags := slices.Clone(c.m.o.StartFlags)
	if share := c.t.ssh.Share; share != "" {
		flags = append(flags, "--share="+share)
	}
	p, l, out, err := c.install(ctx, b, startScript(b, flags))
	var failed *scriptError
	var copied *copyError
	switch {
	case errors.Is(err, errNoShell), errors.As(err, &copied):
		return nil, none, unavailable("%v", err)
	case errors.As(err, &failed):
		c.rememberPut(p, l)
		return nil, none, unavailable("it does not start: %s", strings.TrimPrefix(lastLine(out+"\n"+failed.stderr),
			"berth: agent start: "))
	case err != nil:
		return nil, none, err
	case p == nil:
		return nil, none, unavailable("there is no folder to put it in: %s", strings.Join(l.no, "; "))
	}
	info, err := parseStart(out)
	if err != nil {
		c.rememberPut(p, l)
		return nil, none, unavailable("%v", err)
	}
	p.Socket, p.State = info.Socket, info.StateDir
	if c.tunnelNeeded(ctx, p) {
		p.setViaExec()
	}
	return p, info, nil
}

// parseStart reads the line of JSON that `start` prints.
func parseStart(out string) (api.AgentInfo, error) {
	var info api.AgentInfo
	for line := range strings.SplitSeq(out, "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "{") {
			if err := json.Unmarshal([]byte(line), &info); err != nil {
				return info, fmt.Errorf("what it says at its start can't be read: %w", err)
			}
		}
	}
	if !path.IsAbs(info.Socket) {
		return info, fmt.Errorf("it does not say where its socket is: %s", oneLine(out))
	}
	return info, nil
}

// tunnelNeeded tries the socket and reports whether the server forbids it (or can't reach it, while
// the agent itself does: a path that is too long for sshd).
func (c *Conn) tunnelNeeded(ctx context.Context, p *placement) bool {
	conn, err := c.tr.dial(ctx, "unix", p.Socket)
	if err == nil {
		_ = conn.Close()
		return false
	}
	return errors.Is(err, errProhibited) || errors.Is(err, errNoSocket)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return oneLine(lines[len(lines)-1])
}
