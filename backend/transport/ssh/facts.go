package ssh

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/gpu"
)

// factsScript prints what a host is, one "key value" a line. Each tool may be missing.
func factsScript(share string) string {
	script := `echo "os $(uname -s)"
echo "arch $(uname -m)"
echo "release $(uname -r)"
echo "hostname $(uname -n)"
echo "home $HOME"
echo "shell $SHELL"
echo "cpus $(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null)"
if [ -r /proc/meminfo ]; then echo "memkb $(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)"; else echo "membytes $(sysctl -n hw.memsize 2>/dev/null)"; fi
echo "diskkb $(df -Pk "$HOME" 2>/dev/null | sed -n '2p' | awk '{print $(NF-4)}' 2>/dev/null)"
nvidia-smi --query-gpu=memory.total,name --format=csv,noheader,nounits 2>/dev/null | sed 's/^/gpu /'
`
	if share != "" {
		script += fmt.Sprintf("if [ -d %s ]; then echo 'share yes'; fi\n", shellquote.Word(share))
	}
	return script + "exit 0"
}

// parseFacts reads factsScript's output; lines that make no sense are passed over.
func parseFacts(out string) backend.HostFacts {
	var f backend.HostFacts
	var osName, arch, release string
	for line := range strings.SplitSeq(out, "\n") {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r"), " ")
		value = oneLine(value)
		switch key {
		case "os":
			osName = value
		case "arch":
			arch = value
		case "release":
			release = value
		case "hostname":
			f.Hostname = value
		case "home":
			f.Home = value
		case "shell":
			f.Shell = value
		case "cpus":
			f.VCPUs = int(number(value, 1<<20))
		case "memkb":
			f.MemoryBytes = number(value, math.MaxInt64>>10) << 10
		case "membytes":
			f.MemoryBytes = number(value, math.MaxInt64)
		case "diskkb":
			f.DiskBytes = number(value, math.MaxInt64>>10) << 10
		case "share":
			f.Share = value == "yes"
		case "gpu":
			mib, name, ok := strings.Cut(value, ",")
			if name = strings.TrimSpace(name); ok && name != "" && len(f.GPUs) < 1024 {
				mib = strings.TrimSpace(mib)
				f.GPUs = append(f.GPUs, api.GPU{Name: name, MemoryBytes: number(mib, math.MaxInt64>>20) << 20,
					Unified: gpu.NoMemory(mib)})
			}
		}
	}
	for i := range f.GPUs {
		if g := &f.GPUs[i]; g.Unified {
			g.MemoryBytes = f.MemoryBytes
		}
	}
	f.OS, f.Arch = goNames(osName, arch)
	f.System = strings.TrimSpace(osName + " " + release + " " + arch)
	return f
}

// number reads a count up to limit; anything else is 0.
func number(s string, limit int64) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > limit {
		return 0
	}
	return n
}

// Probe implements backend.Prober.
func (m *Manager) Probe(ctx context.Context, t backend.SSHTarget) (backend.HostFacts, error) {
	c, err := m.acquire(ctx, t)
	if err != nil {
		return backend.HostFacts{}, err
	}
	defer m.unshare(c)
	out, err := c.script(ctx, factsScript(t.Share))
	var f backend.HostFacts
	switch {
	case err == nil:
		f = parseFacts(out)
		c.system.Store(new(parseLook(out)))
	case errors.Is(err, errNoShell):
		// It can be reached, and that is all that can be said.
		f.System = "unknown: " + err.Error()
	default:
		return f, c.lineError(ctx, fmt.Errorf("looking at %s: %w", c.t.where(), err))
	}
	f.ID = c.ID()
	f.User, f.Address, f.Port = c.Target()
	return f, nil
}

// Reach implements backend.Prober.
func (m *Manager) Reach(ctx context.Context, t backend.SSHTarget) error {
	c, err := m.acquire(ctx, t)
	if err != nil {
		return err
	}
	defer m.unshare(c)
	return c.lineError(ctx, c.Ping(ctx))
}

// Dial implements backend.Prober.
func (m *Manager) Dial(ctx context.Context, t backend.SSHTarget, network, address string) (net.Conn, error) {
	c, err := m.acquire(ctx, t)
	if err != nil {
		return nil, err
	}
	conn, err := c.tr.dial(ctx, network, address)
	if err != nil {
		m.unshare(c)
		switch {
		case errors.Is(err, errProhibited):
			return nil, api.Errorf(api.CodeUnreachable, "%s on %s can't be reached: the server forbids forwarding", address,
				c.t.where()).
				WithHint("AllowTcpForwarding and AllowStreamLocalForwarding must be on there")
		case errors.Is(err, errNoSocket):
			return nil, api.Errorf(api.CodeUnreachable, "%s does not answer on %s: %w", address, c.t.where(), err)
		}
		return nil, c.lineError(ctx, err)
	}
	return &dialled{Conn: conn, release: func() { m.unshare(c) }}, nil
}

// dialled is a stream that keeps its connection as long as it is open.
type dialled struct {
	net.Conn
	once    sync.Once
	release func()
}

// Close closes the stream and releases the connection.
func (d *dialled) Close() error {
	err := d.Conn.Close()
	d.once.Do(d.release)
	return err
}

var _ backend.Prober = (*Manager)(nil)
