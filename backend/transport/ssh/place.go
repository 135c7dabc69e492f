package ssh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/shellquote"
)

// lookScript prints the system, the architecture and the folder for programs: the first that can be
// written to and runs programs, with why the ones before it do not. Outside the home each home of a
// user has a folder of its own, as it has a socket of its own.
const lookScript = `umask 077
echo "os $(uname -s)"
echo "arch $(uname -m)"
u=$(id -u)
s="${XDG_STATE_HOME:-$HOME/.local/state}/berth"
k=$(printf %s "$BERTH_HOME:$s" | cksum 2>/dev/null)
k=home-${k%% *}
for d in "$s/bin" "/var/tmp/berth-$u/$k/bin" "/tmp/berth-$u/$k/bin" "/dev/shm/berth-$u/$k/bin"; do
	case $d in /*) ;; *) echo "no $d: it is not an absolute path"; continue ;; esac
	if ! mkdir -p "$d" 2>/dev/null; then echo "no $d: it can not be made"; continue; fi
	own=y
	p=${d%/bin}
	case $p in "$s") set -- "$p" ;; *) set -- "$p" "${p%/*}" ;; esac
	for p in "$@"; do
		if [ -L "$p" ] || [ -z "$(find "$p" -prune -user "$u" 2>/dev/null)" ]; then own=; fi
	done
	if [ -z "$own" ]; then echo "no $d: it belongs to somebody else"; continue; fi
	t="$d/.probe.$$"
	if ! { printf '#!/bin/sh\necho runs\n' >"$t" && chmod 700 "$t"; } 2>/dev/null; then rm -f "$t" 2>/dev/null; echo "no $d: it can not be written to"; continue; fi
	r=$("$t" 2>/dev/null)
	rm -f "$t"
	if [ "$r" != runs ]; then echo "no $d: programs can not be run there (noexec)"; continue; fi
	echo "dir $d"
	break
done
exit 0`

// look is what lookScript found out.
type look struct {
	goos, goarch string
	system       string // as uname says
	dir          string
	other        bool // dir is not below the home
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
			l.no, l.other = append(l.no, oneLine(value)), true
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

// choose looks around on the host and says which program of the agent belongs there, and where.
func (c *Conn) choose(ctx context.Context) (*placement, *program, look, error) {
	unavailable := func(format string, a ...any) (*placement, *program, look, error) {
		return nil, nil, look{}, &backend.AgentUnavailable{Reason: fmt.Sprintf(format, a...)}
	}
	out, err := c.script(ctx, lookScript)
	if errors.Is(err, errNoShell) {
		return unavailable("%v", err)
	} else if err != nil {
		return nil, nil, look{}, fmt.Errorf("looking around on %s: %w", c.t.where(), err)
	}
	l := parseLook(out)
	if l.goos == "" || l.goarch == "" {
		return unavailable("there is no agent for its system (%s)", l.system)
	}
	if l.dir == "" {
		return unavailable("there is no folder to put it in: %s", strings.Join(l.no, "; "))
	}
	b, err := c.m.program(ctx, l.goos, l.goarch)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, l, ctx.Err()
		}
		return unavailable("%v", err)
	}
	return &placement{Program: path.Join(l.dir, b.hash, b.name), Hash: b.hash}, b, l, nil
}

// placeAgent puts the agent in place, if it is not there, and starts it, if it does not run.
func (c *Conn) placeAgent(ctx context.Context) (*placement, api.AgentInfo, error) {
	none := api.AgentInfo{}
	unavailable := func(format string, a ...any) error {
		return &backend.AgentUnavailable{Reason: fmt.Sprintf(format, a...)}
	}
	p, b, l, err := c.choose(ctx)
	if err != nil {
		return nil, none, err
	}
	start := "start --replace"
	if l.other {
		// The state folder of the home can't be used either, or can't be trusted to.
		base := path.Dir(l.dir)
		start += " --boot " + shellquote.Word("--state="+base+"/agent") + " " + shellquote.Word("--scratch="+base+"/scratch")
	}
	if share := c.t.ssh.Share; share != "" {
		start += " " + shellquote.Word("--share="+share)
	}
	if flags := c.m.o.StartFlags; len(flags) > 0 {
		start += " " + shellquote.Line(flags...)
	}
	there, out, err := c.startIfThere(ctx, p, b, start)
	if !there && err == nil {
		if err = c.upload(ctx, p, b); err != nil {
			if ctx.Err() != nil || !c.alive() {
				return nil, none, err
			}
			return nil, none, unavailable("copying it there failed: %v", err)
		}
		there, out, err = c.startIfThere(ctx, p, b, start)
		if !there && err == nil {
			return nil, none, unavailable("it was copied to %s and is not there any more", p.Program)
		}
	}
	var failed *scriptError
	if errors.As(err, &failed) {
		return nil, none, unavailable("it does not start: %s", strings.TrimPrefix(lastLine(failed.output+"\n"+failed.stderr),
			"berth: agent start: "))
	} else if err != nil {
		return nil, none, err
	}
	info, err := parseStart(out)
	if err != nil {
		return nil, none, unavailable("%v", err)
	}
	p.Socket, p.State = info.Socket, info.StateDir
	if c.tunnelNeeded(ctx, p) {
		p.setViaExec()
	}
	return p, info, nil
}

// startIfThere starts the agent if its program is there, whole; out is what start printed.
func (c *Conn) startIfThere(ctx context.Context, p *placement, b *program,
	start string) (there bool, out string, err error) {
	f := shellquote.Word(p.Program)
	script := fmt.Sprintf("f=%s\nif [ ! -x \"$f\" ] || [ \"$(wc -c <\"$f\")\" -ne %d ]; then echo absent; exit 0; fi\necho present\n%s </dev/null 2>&1\n",
		f, b.size, agentCommand(p.Program, start))
	out, err = c.script(ctx, script)
	out = strings.TrimLeft(out, "\r\n")
	if strings.HasPrefix(out, "absent") {
		return false, "", nil
	}
	_, out, _ = strings.Cut(out, "\n")
	return true, out, err
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
