package ssh

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/transport/ssh/sshdtest"
)

// rig is a server with both clients set up for it: ours, and OpenSSH's with the same configuration.
type rig struct {
	s      *sshdtest.Server
	m      *Manager
	ctx    context.Context
	config string
	ssh    string
	o      Options
}

func newRig(b *testing.B) *rig {
	b.Helper()
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		b.Skip("no ssh to compare with: install openssh-client")
	}
	r := &rig{s: sshdtest.Start(b, sshdtest.Options{}), ssh: ssh}
	known := filepath.Join(b.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte(r.s.KnownHosts()), 0o600); err != nil {
		b.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "cm") // a short path, for the socket
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	r.config = sshdtest.Config(b, r.s.Stanza("box", known), r.s.Stanza("master", known, "ControlMaster auto",
		"ControlPath "+dir+"/s", "ControlPersist 600"))
	h, err := paths.At(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	r.o = Options{Home: h, SSHConfig: r.config}
	itself(&r.o)
	r.m = NewManager(r.o)
	b.Cleanup(func() {
		_ = exec.Command(ssh, "-F", r.config, "-O", "exit", "master").Run()
		r.m.Close()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	b.Cleanup(cancel)
	r.ctx = backend.WithCaller(ctx, &backend.Caller{Env: map[string]string{"SSH_AUTH_SOCK": ""}})
	r.through(b, r.m, io.Discard, "true") // the agent is in place
	agentClient(b, r.conn(b, r.m))        // and ended afterwards
	return r
}

func (r *rig) conn(b *testing.B, m *Manager) *Conn {
	c, err := m.Conn(r.ctx, "i", backend.SSHTarget{Host: "box"})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// through runs a command as the daemon does: the connection, the agent's socket, a stream.
func (r *rig) through(b *testing.B, m *Manager, out io.Writer, argv ...string) {
	b.Helper()
	client := &api.AgentClient{Dial: r.conn(b, m).Agent}
	defer client.Close()
	s, err := client.OpenExec(r.ctx, api.ExecRequest{Argv: argv})
	if err != nil {
		b.Fatal(err)
	}
	if st, err := s.Run(r.ctx, api.StreamIO{Stdout: out, Stderr: io.Discard}); err != nil || st.Code != 0 {
		b.Fatal(st, err)
	}
}

func (r *rig) openssh(b *testing.B, host string, out io.Writer, argv ...string) {
	b.Helper()
	cmd := exec.Command(r.ssh, append([]string{"-F", r.config, host, "--"}, argv...)...)
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
}

// paired runs both in turn and reports the medians and their ratio.
func paired(b *testing.B, name string, ours, theirs func()) {
	var a, o []time.Duration
	ours()
	theirs()
	for b.Loop() {
		t := time.Now()
		ours()
		a = append(a, time.Since(t))
		t = time.Now()
		theirs()
		o = append(o, time.Since(t))
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return float64(d[len(d)/2].Microseconds()) / 1000 }
	x, y := median(a), median(o)
	b.ReportMetric(x, "ours-ms")
	b.ReportMetric(y, "openssh-ms")
	b.ReportMetric(x/y, name)
}

func BenchmarkExecWarm(b *testing.B) {
	r := newRig(b)
	paired(b, "ratio", func() { r.through(b, r.m, io.Discard, "true") }, func() {
		r.openssh(b, "master", io.Discard,
			"true")
	})
}

func BenchmarkExecCold(b *testing.B) {
	r := newRig(b)
	paired(b, "ratio", func() {
		m := NewManager(r.o)
		defer m.Close()
		r.through(b, m, io.Discard, "true")
	}, func() { r.openssh(b, "box", io.Discard, "true") })
}

const streamBytes = 1 << 30

func BenchmarkStream1GiB(b *testing.B) {
	r := newRig(b)
	argv := []string{"head", "-c", fmt.Sprint(streamBytes), "/dev/zero"}
	paired(b, "time-ratio", func() { r.through(b, r.m, counter(b), argv...) },
		func() { r.openssh(b, "box", counter(b), argv...) })
}

func BenchmarkStreamPlain1GiB(b *testing.B) {
	r := newRig(b)
	argv := []string{"head", "-c", fmt.Sprint(streamBytes), "/dev/zero"}
	c := r.conn(b, r.m)
	paired(b, "time-ratio", func() {
		s := stream(b, func(s *api.Stream) { c.ServeExec(r.ctx, s, api.ExecRequest{Argv: argv}) })
		if _, err := s.Run(r.ctx, api.StreamIO{Stdout: counter(b), Stderr: io.Discard}); err != nil {
			b.Fatal(err)
		}
	}, func() { r.openssh(b, "box", counter(b), argv...) })
}

func BenchmarkStreamUp1GiB(b *testing.B) {
	r := newRig(b)
	zeros := func() io.Reader { return io.LimitReader(zero{}, streamBytes) }
	paired(b, "time-ratio", func() {
		client := &api.AgentClient{Dial: r.conn(b, r.m).Agent}
		defer client.Close()
		s, err := client.OpenExec(r.ctx, api.ExecRequest{Argv: []string{"sh", "-c", "cat >/dev/null"}})
		if err != nil {
			b.Fatal(err)
		}
		if st, err := s.Run(r.ctx, api.StreamIO{Stdin: zeros(), Stdout: io.Discard, Stderr: io.Discard}); err != nil ||
			st.Code != 0 {
			b.Fatal(st, err)
		}
	}, func() {
		cmd := exec.Command(r.ssh, "-F", r.config, "box", "--", "cat >/dev/null")
		cmd.Stdin = zeros()
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkStreamPlainUp1GiB(b *testing.B) {
	r := newRig(b)
	zeros := func() io.Reader { return io.LimitReader(zero{}, streamBytes) }
	c := r.conn(b, r.m)
	paired(b, "time-ratio", func() {
		s := stream(b, func(s *api.Stream) {
			c.ServeExec(r.ctx, s, api.ExecRequest{Argv: []string{"sh", "-c", "cat >/dev/null"}})
		})
		st, err := s.Run(r.ctx, api.StreamIO{Stdin: zeros(), Stdout: io.Discard, Stderr: io.Discard})
		if err != nil || st.Code != 0 {
			b.Fatal(st, err)
		}
	}, func() {
		cmd := exec.Command(r.ssh, "-F", r.config, "box", "--", "cat >/dev/null")
		cmd.Stdin = zeros()
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	})
}

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// counter checks nothing and keeps nothing: both sides write to the same sink.
func counter(*testing.B) io.Writer { return struct{ io.Writer }{io.Discard} }
