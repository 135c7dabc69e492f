package keys

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"berth/backend/base/atomicfile"
)

// Key is the workspace's key.
type Key struct {
	path    string
	private ed25519.PrivateKey
	public  ssh.PublicKey
}

// Open reads the key at path, making it if there is none. Two processes may do so at once.
func Open(path string) (*Key, error) {
	k, err := read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the workspace's key: %w", err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the workspace's key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "berth")
	if err != nil {
		return nil, fmt.Errorf("encoding the workspace's key: %w", err)
	}
	// Written whole under another name and then linked: the first of two processes wins.
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("writing the workspace's key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(pem.EncodeToMemory(block))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, fmt.Errorf("writing the workspace's key: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("writing the workspace's key: %w", err)
	}
	return read(path)
}

func read(path string) (*Key, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the workspace's key %s can be read by others (mode %04o): chmod 600 it, and delete the machines made with it if others were about", path, fi.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	raw, err := ssh.ParseRawPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("the workspace's key %s can't be read: %w", path, err)
	}
	p, ok := raw.(*ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the workspace's key %s is a %T, not an ed25519 key", path, raw)
	}
	pub, err := ssh.NewPublicKey(p.Public())
	if err != nil {
		return nil, err
	}
	return &Key{path: path, private: *p, public: pub}, nil
}

// Copy keeps a copy of another home's key, which must be one that Open made.
func Copy(from, to string) error {
	if _, err := read(from); err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("reading the key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("making the folder of the workspace's key: %w", err)
	}
	return atomicfile.Replace(to, b, 0o600)
}

// Exists reports whether there is a key at path.
func Exists(path string) bool {
	_, err := read(path)
	return err == nil
}

// Path is the file of the private key.
func (k *Key) Path() string { return k.path }

// Authorized is the line of authorized_keys that lets the workspace in.
func (k *Key) Authorized() string { return line(k.public) + " berth" }

func line(p ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p))) }

// HostKey is the first host key of the machine that is made with a client token: its private half as
// OpenSSH PEM, its public half as a line of authorized_keys, and its fingerprint. It is the same at each
// call and for no other token: HKDF (RFC 5869) of the workspace's key.
func (k *Key) HostKey(token string) (private, public, fingerprint string, err error) {
	seed, err := hkdf.Key(sha256.New, k.private.Seed(), nil, "berth host key "+token, ed25519.SeedSize)
	if err != nil {
		return "", "", "", fmt.Errorf("deriving a host key: %w", err)
	}
	p := ed25519.NewKeyFromSeed(seed)
	pub, err := ssh.NewPublicKey(p.Public())
	if err != nil {
		return "", "", "", fmt.Errorf("deriving a host key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(p, "")
	if err != nil {
		return "", "", "", fmt.Errorf("encoding a host key: %w", err)
	}
	return string(pem.EncodeToMemory(block)), line(pub), ssh.FingerprintSHA256(pub), nil
}

// Users returns the public keys of a person, as lines of authorized_keys: those of their ssh-agent, then
// the files *.pub of their ~/.ssh, certificates left out. env is the caller's environment.
func Users(ctx context.Context, env map[string]string) []string {
	var out []string
	add := func(p ssh.PublicKey) {
		if _, cert := p.(*ssh.Certificate); cert {
			return
		}
		if l := line(p); !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	if sock := env["SSH_AUTH_SOCK"]; sock != "" {
		var d net.Dialer
		if c, err := d.DialContext(ctx, "unix", sock); err == nil {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			held, _ := agent.NewClient(c).List() // an agent that does not answer has no keys
			stop()
			_ = c.Close()
			for _, h := range held {
				if p, err := ssh.ParsePublicKey(h.Blob); err == nil {
					add(p)
				}
			}
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return out
	}
	files, _ := filepath.Glob(filepath.Join(home, ".ssh", "*.pub"))
	slices.Sort(files)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if p, _, _, _, err := ssh.ParseAuthorizedKey(b); err == nil {
			add(p)
		}
	}
	return out
}
