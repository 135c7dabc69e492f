package ssh

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	gossh "golang.org/x/crypto/ssh"

	"berth/backend/api"
)

// passphraseTries is how often a passphrase is asked for, as in ssh.
const passphraseTries = 3

// secrets holds what a person typed for a target, in memory, for as long as the target is in use.
type secrets struct {
	mu      sync.Mutex
	signers map[string]gossh.Signer // by the key file's content
}

func (s *secrets) get(pem []byte) gossh.Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signers[string(pem)]
}

func (s *secrets) put(pem []byte, k gossh.Signer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signers == nil {
		s.signers = map[string]gossh.Signer{}
	}
	s.signers[string(pem)] = k
}

// keyFile is a private key in a file.
type keyFile struct {
	path   string
	public gossh.PublicKey // nil if only the decrypted key would tell
	signer gossh.Signer    // decrypts when it signs, if it must
	cert   *gossh.Certificate
}

// loadKey reads a private key, and its certificate if one lies beside it. An encrypted key is
// decrypted only when the server wants it.
func loadKey(path string, decrypt func(pem []byte, path string) (gossh.Signer, error)) (*keyFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is not a file")
	}
	pem, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, err
	}
	k := &keyFile{path: path}
	if pub, _, _, _, err := gossh.ParseAuthorizedKey(pem); err == nil {
		// The public half stands for a key that ssh-agent holds.
		k.public = pub
		return k, nil
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read it (mode %04o): ssh does not use such a key either; chmod 600 it",
			st.Mode().Perm())
	}
	k.cert = readCert(path + "-cert.pub")
	signer, err := gossh.ParsePrivateKey(pem)
	var missing *gossh.PassphraseMissingError
	switch {
	case err == nil:
		k.public, k.signer = signer.PublicKey(), signer
		return k, nil
	case errors.As(err, &missing):
		k.public = missing.PublicKey
		if k.public == nil {
			k.public = readPublic(path + ".pub")
		}
		k.signer = &lazySigner{public: k.public, open: func() (gossh.Signer, error) { return decrypt(pem, path) }}
		return k, nil
	case strings.Contains(err.Error(), "sk-"):
		return nil, errors.New("it stands for a hardware key, which only ssh-agent can use: ssh-add it")
	}
	return nil, err
}

func readPublic(path string) gossh.PublicKey {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	pub, _, _, _, err := gossh.ParseAuthorizedKey(b)
	if err != nil {
		return nil
	}
	return pub
}

// readCert reads a user certificate; nil if there is none.
func readCert(path string) *gossh.Certificate {
	c, ok := readPublic(path).(*gossh.Certificate)
	if !ok || c.CertType != gossh.UserCert {
		return nil
	}
	return c
}

// lazySigner is a signer whose private key is opened when it first signs.
type lazySigner struct {
	public gossh.PublicKey
	open   func() (gossh.Signer, error)
	once   sync.Once
	signer gossh.Signer
	err    error
}

func (l *lazySigner) PublicKey() gossh.PublicKey { return l.public }

func (l *lazySigner) get() (gossh.Signer, error) {
	l.once.Do(func() { l.signer, l.err = l.open() })
	return l.signer, l.err
}

func (l *lazySigner) Sign(rand io.Reader, data []byte) (*gossh.Signature, error) {
	return l.SignWithAlgorithm(rand, data, "")
}

// SignWithAlgorithm implements gossh.AlgorithmSigner, so that an RSA key signs with SHA-2.
func (l *lazySigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	s, err := l.get()
	if err != nil {
		return nil, err
	}
	if a, ok := s.(gossh.AlgorithmSigner); ok && algorithm != "" {
		return a.SignWithAlgorithm(rand, data, algorithm)
	}
	return s.Sign(rand, data)
}

// decrypter returns the function that opens encrypted keys by asking for their passphrase.
func (a *authenticator) decrypter() func(pem []byte, path string) (gossh.Signer, error) {
	return func(pem []byte, path string) (gossh.Signer, error) {
		if s := a.secrets.get(pem); s != nil {
			return s, nil
		}
		if !someoneThere(a.ctx) || a.t.host.BatchMode {
			err := wants("passphrase", "the key %s, for %s, needs its passphrase", path, a.t.where())
			a.missing = append(a.missing, err)
			return nil, err
		}
		text := "To sign in to " + a.t.where() + "."
		for range passphraseTries {
			resume := a.pause()
			answer, err := ask(a.ctx, api.Question{Kind: "secret", Title: "Passphrase for " + path, Text: text})
			resume()
			if err != nil {
				a.unanswered("passphrase", err)
				return nil, err
			}
			s, err := gossh.ParsePrivateKeyWithPassphrase(pem, []byte(answer))
			if err == nil {
				a.secrets.put(pem, s)
				return s, nil
			}
			if !errors.Is(err, x509.IncorrectPasswordError) && !strings.Contains(err.Error(), "decrypt") {
				a.note("%s: %v", path, err)
				return nil, err
			}
			text = "That was not the passphrase. To sign in to " + a.t.where() + "."
		}
		a.note("%s: wrong passphrase", path)
		return nil, fmt.Errorf("wrong passphrase for %s", path)
	}
}

// missingFile reports an error that only says that there is no such file.
func missingFile(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func sameKey(a, b gossh.PublicKey) bool {
	return a != nil && b != nil && bytes.Equal(plainKey(a).Marshal(), plainKey(b).Marshal())
}

// plainKey is the key inside a certificate, or the key itself.
func plainKey(k gossh.PublicKey) gossh.PublicKey {
	if c, ok := k.(*gossh.Certificate); ok {
		return c.Key
	}
	return k
}
