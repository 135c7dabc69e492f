package sshdtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
)

// Options is how a server differs from a plain one.
type Options struct {
	NoSFTP        bool
	NoStreamLocal bool // AllowStreamLocalForwarding no
	NoForwarding  bool // DisableForwarding yes
	MaxSessions   int
	ForceCommand  string
	Banner        string // text shown before signing in
	KeyType       string // of the host key: ed25519 (default), rsa, ecdsa
	HostCA        *Key   // signs a host certificate for Principals
	Principals    []string
	UserCA        *Key     // signs user certificates that are let in
	Authorized    []*Key   // user keys that are let in; nil: Server.Key, made for the occasion
	Port          int      // 0: a free one
	User          string   // who signs in; "": the user of the tests
	Home          string   // HOME of the sessions; "": a fresh folder
	Lines         []string // lines of sshd_config that come before the others
}

// Server is a running sshd.
type Server struct {
	Dir     string // its files
	Host    string
	Port    int
	User    string
	Home    string // HOME of its sessions
	Key     *Key   // a user key that it lets in
	HostKey *Key

	t    testing.TB
	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// Find returns the path of sshd, or skips the test.
func Find(t testing.TB) string {
	t.Helper()
	for _, p := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/lib/ssh/sshd", "/opt/homebrew/sbin/sshd"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Skip("no sshd on this machine: install openssh-server")
	return ""
}

// NeedTerminals skips a test whose server can't give a terminal: without root, sshd can't hand one to the group tty,
// and in some containers new terminals don't belong to it by themselves.
func NeedTerminals(t testing.TB) {
	t.Helper()
	tty, err := user.LookupGroup("tty")
	if os.Getuid() == 0 || err != nil {
		return
	}
	p, own, err := pty.Open()
	must(t, err)
	defer p.Close()
	defer own.Close()
	fi, err := own.Stat()
	must(t, err)
	if gid := fmt.Sprint(fi.Sys().(*syscall.Stat_t).Gid); gid != tty.Gid {
		t.Skipf("needs root: %s belongs to the group %s and not to tty, so that sshd can't give a terminal", own.Name(), gid)
	}
}

// Start starts a server and waits until it listens.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	Find(t)
	s := &Server{t: t, Dir: tempDir(t), Host: "127.0.0.1", User: o.User, Home: o.Home}
	if s.User == "" {
		u, err := user.Current()
		must(t, err)
		s.User = u.Username
	}
	if s.Home == "" {
		s.Home = filepath.Join(s.Dir, "home")
		must(t, os.Mkdir(s.Home, 0o755))
		chown(t, s.Home, s.User)
	}
	keys := o.Authorized
	if keys == nil {
		s.Key = NewKey(t, "ed25519", "")
		keys = []*Key{s.Key}
	} else if len(keys) > 0 {
		s.Key = keys[0]
	}
	var auth bytes.Buffer
	for _, k := range keys {
		auth.Write(ssh.MarshalAuthorizedKey(k.Public))
	}
	must(t, os.WriteFile(filepath.Join(s.Dir, "authorized_keys"), auth.Bytes(), 0o644))
	if o.KeyType == "" {
		o.KeyType = "ed25519"
	}
	s.HostKey = NewKey(t, o.KeyType, "")
	if os.Getuid() == 0 {
		must(t, os.MkdirAll("/run/sshd", 0o755)) // sshd's privilege separation folder
	}
	s.Port = o.Port
	if s.Port == 0 {
		s.Port = FreePort(t)
	}
	must(t, os.WriteFile(filepath.Join(s.Dir, "sshd_config"), []byte(s.config(o)), 0o644))
	t.Cleanup(func() {
		s.Kill()
		s.endAgents()
	})
	s.Restart()
	return s
}

// race is for sessions what the tests themselves run with: a program under the race detector would sleep for a second
// when it ends, and be in use meanwhile.
func race() string {
	if v := os.Getenv("GORACE"); v != "" && !strings.ContainsAny(v, " \"") {
		return " GORACE=" + v
	}
	return ""
}

func (s *Server) config(o Options) string {
	// The first value of a keyword counts.
	lines := append(append([]string(nil), o.Lines...),
		"ListenAddress "+s.Host, "Port "+strconv.Itoa(s.Port), "PidFile none", "UsePAM no", "StrictModes no",
		"HostKey "+s.HostKey.File, "AuthorizedKeysFile "+filepath.Join(s.Dir, "authorized_keys"),
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin yes", "PrintMotd no",
		"LogLevel VERBOSE", "SetEnv HOME="+s.Home+" XDG_STATE_HOME="+filepath.Join(s.Home,
			"state")+race(),
	)
	if !slices.ContainsFunc(o.Lines, func(l string) bool { return strings.HasPrefix(l, "MaxStartups ") }) {
		lines = append(lines, "MaxStartups 100:30:200") // of this one the last value counts
	}
	if !o.NoSFTP {
		lines = append(lines, "Subsystem sftp internal-sftp")
	}
	if o.NoStreamLocal {
		lines = append(lines, "AllowStreamLocalForwarding no")
	}
	if o.NoForwarding {
		lines = append(lines, "DisableForwarding yes")
	}
	if o.MaxSessions != 0 {
		lines = append(lines, "MaxSessions "+strconv.Itoa(o.MaxSessions))
	}
	if o.ForceCommand != "" {
		lines = append(lines, "ForceCommand "+o.ForceCommand)
	}
	if o.Banner != "" {
		f := filepath.Join(s.Dir, "banner")
		must(s.t, os.WriteFile(f, []byte(o.Banner), 0o644))
		lines = append(lines, "Banner "+f)
	}
	if o.HostCA != nil {
		lines = append(lines, "HostCertificate "+o.HostCA.Certify(s.t, s.HostKey, ssh.HostCert, o.Principals...))
	}
	if o.UserCA != nil {
		f := filepath.Join(s.Dir, "user_ca.pub")
		must(s.t, os.WriteFile(f, ssh.MarshalAuthorizedKey(o.UserCA.Public), 0o644))
		lines = append(lines, "TrustedUserCAKeys "+f)
	}
	return strings.Join(lines, "\n") + "\n"
}

// Restart starts the server again after Kill.
func (s *Server) Restart() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(s.t, err)
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	must(s.t, err)
	cmd := exec.Command(Find(s.t), "-D", "-e", "-f", filepath.Join(s.Dir, "sshd_config"))
	cmd.Stderr = log
	must(s.t, cmd.Start())
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	s.cmd, s.done = cmd, done
	deadline := time.Now().Add(2 * time.Minute)
	// It says so itself: who answers on the port may be somebody else.
	for !strings.Contains(s.Log()[before:], "Server listening on "+s.Host) {
		select {
		case <-done:
			s.t.Fatalf("sshd ended at once: %s", s.Log())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("sshd does not listen on %s:\n%s", s.Addr(), s.Log())
		}
	}
}

// Kill ends the server and all its connections with SIGKILL, leaving the processes of the sessions.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	all := sshds(s.cmd.Process.Pid)
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.done
	s.cmd = nil
	// A child that has just been forked has the port open until it is gone, too: the next server could not take it.
	deadline := time.Now().Add(2 * time.Minute)
	for _, pid := range all {
		for lives(pid) && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
	}
}

func lives(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

// Disconnect ends all connections with SIGKILL; the server goes on listening.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	for _, pid := range sshds(s.cmd.Process.Pid) {
		if pid != s.cmd.Process.Pid {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Freeze stops all connections (SIGSTOP): they stay open and say nothing, as on a network that is
// gone. The returned function lets them go on.
func (s *Server) Freeze() (thaw func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var pids []int
	for _, pid := range sshds(s.cmd.Process.Pid) {
		if pid != s.cmd.Process.Pid {
			pids = append(pids, pid)
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
	}
	return func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// Connections counts the connections that are open now.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return len(children(s.cmd.Process.Pid))
}

// sshds returns pid and its descendants that are sshd, children first.
func sshds(pid int) []int {
	var out []int
	for _, c := range children(pid) {
		if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", c)); strings.HasPrefix(string(comm), "sshd") {
			out = append(out, sshds(c)...)
		}
	}
	return append(out, pid)
}

func children(pid int) []int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var out []int
	for f := range strings.FieldsSeq(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// Addr is host:port.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Log returns what the server has logged.
func (s *Server) Log() string {
	b, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
	return string(b)
}

// KnownHosts is the server's line for a file of known hosts.
func (s *Server) KnownHosts() string {
	return fmt.Sprintf("[%s]:%d %s", s.Host, s.Port, ssh.MarshalAuthorizedKey(s.HostKey.Public))
}

// Stanza is a Host section of an ssh configuration that reaches the server as alias, with its key and
// with known host keys in the file given.
func (s *Server) Stanza(alias, knownHosts string, more ...string) string {
	lines := []string{"Host " + alias, "HostName " + s.Host, "Port " + strconv.Itoa(s.Port), "User " + s.User,
		"IdentityFile " + s.Key.File, "IdentitiesOnly yes", "IdentityAgent none", "UserKnownHostsFile " + knownHosts,
		"GlobalKnownHostsFile /dev/null"}
	return strings.Join(append(lines, more...), "\n    ") + "\n"
}

// Config writes an ssh configuration of stanzas to a file and returns its path.
func Config(t testing.TB, stanzas ...string) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "ssh_config")
	must(t, os.WriteFile(f, []byte(strings.Join(stanzas, "")), 0o600))
	return f
}

// lastPort is where FreePort goes on. Ports of outgoing connections begin at 32768 on Linux: below, no
// connection of another test takes a port between its choice and its use.
var lastPort = func() *atomic.Int64 {
	var n atomic.Int64
	n.Store(int64(os.Getpid()) * 7919)
	return &n
}()

// FreePort returns a port of 127.0.0.1 on which nothing listens.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 12000 + int(lastPort.Add(1)%20000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			must(t, l.Close())
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// tempDir is a folder that other users may pass through (t.TempDir is closed to them).
func tempDir(t testing.TB) string {
	t.Helper()
	d, err := os.MkdirTemp("", "sshd-")
	must(t, err)
	must(t, os.Chmod(d, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(d) })
	return d
}

func chown(t testing.TB, path, name string) {
	t.Helper()
	u, err := user.Lookup(name)
	must(t, err)
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if uid != os.Getuid() {
		must(t, os.Chown(path, uid, gid))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
