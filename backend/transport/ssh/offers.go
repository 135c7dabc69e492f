package ssh

import (
	"fmt"
	"net"
	"os"
	"strings"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"berth/backend"
)

// load gathers the keys to offer, in ssh's order: those named by the configuration (through ssh-agent
// if it holds them), then the agent's others unless IdentitiesOnly is set. A certificate comes before
// its plain key.
func (a *authenticator) load() {
	held := a.agentSigners()
	used := make([]bool, len(held))
	certs := a.certificates()
	var late []offer // files that would be read only if the agent's keys fail
	for _, path := range a.t.host.IdentityFiles {
		k, err := loadKey(path, a.decrypter())
		if err != nil {
			if !missingFile(err) {
				a.note("%s: %v", path, err)
			}
			// The public half may lie there without the private one, which the agent holds.
			pub := readPublic(path + ".pub")
			if pub == nil {
				continue
			}
			k = &keyFile{path: path, public: pub, cert: readCert(path + "-cert.pub")}
		}
		if k.public == nil {
			// An old format, whose public half only the passphrase shows.
			s, err := k.signer.(*lazySigner).get()
			if err != nil {
				continue
			}
			k.public, k.signer = s.PublicKey(), s
		}
		inAgent := false
		for i, s := range held {
			if !used[i] && sameKey(s.PublicKey(), k.public) {
				used[i], inAgent = true, true
				a.add(&a.offers, "ssh-agent's "+path, s, k.cert, certs)
			}
		}
		if !inAgent && k.signer != nil {
			a.add(&late, path, k.signer, k.cert, certs)
		}
	}
	if !a.t.host.IdentitiesOnly {
		for i, s := range held {
			if !used[i] {
				a.add(&a.offers, "ssh-agent's key", s, nil, certs)
			}
		}
	}
	a.offers = append(a.offers, late...)
}

// add puts a key, after the certificates made for it, into a list.
func (a *authenticator) add(to *[]offer, name string, s gossh.Signer, own *gossh.Certificate,
	certs []*gossh.Certificate) {
	if own != nil {
		certs = append([]*gossh.Certificate{own}, certs...)
	}
	if _, already := s.PublicKey().(*gossh.Certificate); !already {
		for _, c := range certs {
			if sameKey(c.Key, s.PublicKey()) {
				if cs, err := gossh.NewCertSigner(c, s); err == nil {
					*to = append(*to, offer{name + " with its certificate", cs})
				}
			}
		}
	}
	*to = append(*to, offer{name, s})
}

// certificates reads the files that CertificateFile names.
func (a *authenticator) certificates() []*gossh.Certificate {
	var out []*gossh.Certificate
	for _, f := range a.t.host.Certificates {
		if c := readCert(f); c != nil {
			out = append(out, c)
		} else {
			a.note("%s: there is no user certificate in it", f)
		}
	}
	return out
}

// agentSocket is the socket of the caller's ssh-agent, or "".
func (a *authenticator) agentSocket() string {
	switch s := a.t.host.IdentityAgent; s {
	case "none":
		return ""
	case "", "SSH_AUTH_SOCK":
		return backend.CallerFrom(a.ctx).Getenv("SSH_AUTH_SOCK")
	default:
		return s
	}
}

// agentSigners asks the caller's ssh-agent for its keys. Hardware keys, which want a touch, are left
// out where nobody is there.
func (a *authenticator) agentSigners() []gossh.Signer {
	path := a.agentSocket()
	if path == "" {
		return nil
	}
	conn, err := dialUnix(path)
	if err != nil {
		a.note("ssh-agent at %s: %v", path, err)
		return nil
	}
	a.close = append(a.close, func() { _ = conn.Close() })
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		a.note("ssh-agent at %s: %v", path, err)
		return nil
	}
	if someoneThere(a.ctx) {
		return signers
	}
	var out []gossh.Signer
	for _, s := range signers {
		if strings.HasPrefix(s.PublicKey().Type(), "sk-") {
			a.missing = append(a.missing, wants("touch", "a hardware key for %s wants to be touched", a.t.where()))
			continue
		}
		out = append(out, s)
	}
	return out
}

// dialUnix connects to a socket, also where its path is longer than the system's limit: then through
// a short name for its folder.
func dialUnix(path string) (net.Conn, error) {
	const limit = 100
	if len(path) <= limit {
		return net.Dial("unix", path)
	}
	dir, file := splitPath(path)
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), file)
	if _, err := os.Stat(short); err != nil || len(short) > limit {
		return nil, fmt.Errorf("the path of the socket %s is longer than this system allows", path)
	}
	return net.Dial("unix", short)
}

func splitPath(p string) (dir, file string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return ".", p
	}
	return p[:i+1], p[i+1:]
}
