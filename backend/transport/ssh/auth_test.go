package ssh

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	gossh "golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

func TestKeyTypes(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		k := sshdtest.NewKey(t, kind, "")
		s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}, KeyType: kind})
		w := newWorld(t).reach(s)
		w.conn(w.ctx(nil), "box")
	}
}

func TestEncryptedKey(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"ed25519", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			k := sshdtest.NewKey(t, kind, "open sesame")
			s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}})
			w := newWorld(t).reach(s)

			_, err := w.m.Conn(w.ctx(nil), "i-box", backend.SSHTarget{Host: "box"})
			require.Equal(t, api.CodeNoAnswer, code(t, err))
			require.Equal(t, State{Phase: NeedsYou, Reason: "passphrase"}, State{Phase: w.m.State("i-box").Phase,
				Reason: w.m.State("i-box").Reason})

			a := &asked{answers: []string{"wrong", "open sesame"}}
			w.conn(w.ctx(a), "box")
			q := a.questions()
			require.Len(t, q, 2)
			require.Equal(t, "secret", q[0].Kind)
			require.Contains(t, q[0].Title, k.File)

			// Remembered for the connection's life: a broken line comes back without a question.
			s.Disconnect()
			eventually(t, "the line is lost and comes back", func() bool {
				p := w.phases()
				return len(p) > 3 && p[len(p)-1] == Ready && w.m.State("i-box").Phase == Ready
			})
			require.Len(t, a.questions(), 2)
		})
	}
}

func TestEncryptedKeyIsNotAskedForInVain(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	locked := sshdtest.NewKey(t, "ed25519", "secret")
	w := newWorld(t).trust(s)
	w.hosts("Match all\n", strings.Replace(s.Stanza("box", w.known), "IdentityFile",
		"IdentityFile "+locked.File+"\n    IdentityFile", 1))
	a := &asked{answers: []string{"secret"}}
	w.conn(w.ctx(a), "box")
	require.Empty(t, a.questions(), "the server does not want that key")
}

func TestUserCertificate(t *testing.T) {
	t.Parallel()
	ca, k := sshdtest.NewKey(t, "ed25519", ""), sshdtest.NewKey(t, "ed25519", "")
	s := sshdtest.Start(t, sshdtest.Options{UserCA: ca, Authorized: []*sshdtest.Key{}})
	s.Key = k
	w := newWorld(t).reach(s)
	_, err := w.m.Conn(w.ctx(nil), "i-box", backend.SSHTarget{Host: "box"})
	require.Equal(t, api.CodeAuth, code(t, err))
	cert := ca.Certify(t, k, gossh.UserCert, s.User)
	w.conn(w.ctx(nil), "box")

	// By CertificateFile, away from the key.
	elsewhere := filepath.Join(t.TempDir(), "elsewhere.pub")
	require.NoError(t, os.Rename(cert, elsewhere))
	w.hosts(s.Stanza("box2", w.known, "CertificateFile "+elsewhere))
	w.conn(w.ctx(nil), "box2")
}

// sshAgent starts a real ssh-agent, with a socket whose path may be long, and adds keys.
func sshAgent(t *testing.T, dir string, keys ...*sshdtest.Key) string {
	t.Helper()
	prog, err := exec.LookPath("ssh-agent")
	if err != nil {
		t.Skip("no ssh-agent on this machine: install openssh-client")
	}
	short, err := os.MkdirTemp("", "a")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	sock := filepath.Join(short, "s")
	cmd := exec.Command(prog, "-D", "-a", sock)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	eventually(t, "ssh-agent listens", func() bool { _, err := os.Stat(sock); return err == nil })
	for _, k := range keys {
		add := exec.Command("ssh-add", "-q", k.File)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+sock)
		out, err := add.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	if dir == "" {
		return sock
	}
	// A bound socket stays where it is; its folder may have a longer name.
	long := filepath.Join(dir, strings.Repeat("long", 30))
	require.NoError(t, os.MkdirAll(long, 0o700))
	moved := filepath.Join(long, "agent.sock")
	require.NoError(t, os.Rename(sock, moved))
	return moved
}

func TestSSHAgent(t *testing.T) {
	t.Parallel()
	k, other := sshdtest.NewKey(t, "ed25519", ""), sshdtest.NewKey(t, "rsa", "")
	s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}})
	stanza := func(w *world, alias string, more ...string) string {
		x := strings.Replace(s.Stanza(alias, w.known, more...), "IdentityAgent none", "IdentityAgent SSH_AUTH_SOCK", 1)
		return strings.Replace(x, "IdentityFile "+k.File, "IdentityFile /nonexistent", 1)
	}
	for name, dir := range map[string]string{"short path": "", "path longer than a socket's": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			sock := sshAgent(t, dir, other, k)
			w := newWorld(t).trust(s)
			w.hosts(strings.Replace(stanza(w, "box"), "IdentitiesOnly yes", "IdentitiesOnly no", 1), stanza(w, "only"),
				strings.Replace(stanza(w, "named"), "/nonexistent", k.File+".pub", 1))
			w.conn(w.ctx(nil, "SSH_AUTH_SOCK="+sock), "box")
			w.conn(w.ctx(nil, "SSH_AUTH_SOCK="+sock), "named")
			w.m.Drop("i-box") // another way to the same place would be taken
			w.m.Drop("i-named")
			_, err := w.m.Conn(w.ctx(nil, "SSH_AUTH_SOCK="+sock), "i", backend.SSHTarget{Host: "only"})
			require.Equal(t, api.CodeAuth, code(t, err), "IdentitiesOnly leaves the agent's other keys out")
		})
	}
}

func TestTwoFactors(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/etc/pam.d/sshd"); err != nil {
		t.Skip("keyboard-interactive needs PAM: install openssh-server of a distribution that has it")
	}
	name, home := sshdtest.NewUser(t, "/bin/sh")
	chpasswd := exec.Command("chpasswd")
	chpasswd.Stdin = strings.NewReader(name + ":correct horse\n")
	out, err := chpasswd.CombinedOutput()
	require.NoError(t, err, string(out))
	s := sshdtest.Start(t, sshdtest.Options{User: name, Home: home, Lines: []string{
		"UsePAM yes", "KbdInteractiveAuthentication yes", "AuthenticationMethods publickey,keyboard-interactive"}})
	w := newWorld(t).reach(s)

	_, err = w.m.Conn(w.ctx(nil), "i-box", backend.SSHTarget{Host: "box"})
	require.Equal(t, api.CodeNoAnswer, code(t, err))
	require.Equal(t, "code", w.m.State("i-box").Reason)

	a := &asked{answers: []string{"wrong", "correct horse"}}
	w.conn(w.ctx(a), "box")
	q := a.questions()
	require.Len(t, q, 2)
	require.Equal(t, "secret", q[0].Kind)
	require.Contains(t, q[0].Title, "Password")

	s.Disconnect()
	eventually(t, "a person is needed again", func() bool { return w.m.State("i-box").Phase == NeedsYou })
}

func TestPassword(t *testing.T) {
	t.Parallel()
	name, home := sshdtest.NewUser(t, "/bin/sh")
	chpasswd := exec.Command("chpasswd")
	chpasswd.Stdin = strings.NewReader(name + ":correct horse\n")
	out, err := chpasswd.CombinedOutput()
	require.NoError(t, err, string(out))
	s := sshdtest.Start(t, sshdtest.Options{User: name, Home: home, Authorized: []*sshdtest.Key{},
		Lines: []string{"PasswordAuthentication yes"}})
	s.Key = sshdtest.NewKey(t, "ed25519", "")
	w := newWorld(t).trust(s)
	w.hosts(s.Stanza("box", w.known), s.Stanza("batch", w.known, "BatchMode yes"))
	a := &asked{answers: []string{"wrong", "correct horse"}}
	w.conn(w.ctx(a), "box")
	w.m.Drop("i-box") // another way to the same place would be taken
	_, err = w.m.Conn(w.ctx(a), "i", backend.SSHTarget{Host: "batch"})
	require.Equal(t, api.CodeAuth, code(t, err))
}

func TestRefusedKeyAndWrongUser(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{sshdtest.NewKey(t, "ed25519", "")}})
	mine := sshdtest.NewKey(t, "ed25519", "")
	s.Key = mine
	w := newWorld(t).reach(s)
	_, err := w.m.Conn(w.ctx(&asked{}), "i", backend.SSHTarget{Host: "box"})
	require.Equal(t, api.CodeAuth, code(t, err))
	require.Equal(t, 6, api.ExitCode(err))
	require.Contains(t, err.Error(), mine.File)
	require.Contains(t, err.Error(), gossh.FingerprintSHA256(mine.Public))
	require.Equal(t, Lost, w.m.State("i").Phase)

	_, err = w.m.Conn(w.ctx(&asked{}), "i", backend.SSHTarget{Host: "box", User: "no-such-user"})
	require.Equal(t, api.CodeAuth, code(t, err))
	require.Contains(t, err.Error(), "no-such-user@")
}

func TestOpenKeyFileIsNotUsed(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	require.NoError(t, os.Chmod(s.Key.File, 0o644))
	w := newWorld(t).reach(s)
	_, err := w.m.Conn(w.ctx(nil), "i", backend.SSHTarget{Host: "box"})
	require.Equal(t, api.CodeAuth, code(t, err))
	require.Contains(t, err.Error(), "chmod 600")
}
