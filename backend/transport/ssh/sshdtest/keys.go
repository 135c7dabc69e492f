package sshdtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Key is a private key in a file, 0600, with its public half beside it (.pub).
type Key struct {
	File   string
	Public ssh.PublicKey
	Signer ssh.Signer
	Raw    crypto.PrivateKey
}

// NewKey makes a key of type ed25519, rsa or ecdsa, encrypted if passphrase is not empty.
func NewKey(t testing.TB, kind, passphrase string) *Key {
	t.Helper()
	var raw crypto.PrivateKey
	var err error
	switch kind {
	case "rsa":
		raw, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa":
		raw, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, raw, err = ed25519.GenerateKey(rand.Reader)
	}
	must(t, err)
	var block *pem.Block
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(raw, "test", []byte(passphrase))
	} else {
		block, err = ssh.MarshalPrivateKey(raw, "test")
	}
	must(t, err)
	signer, err := ssh.NewSignerFromKey(raw)
	must(t, err)
	k := &Key{File: filepath.Join(tempDir(t), "id_"+kind), Public: signer.PublicKey(), Signer: signer, Raw: raw}
	must(t, os.WriteFile(k.File, pem.EncodeToMemory(block), 0o600))
	must(t, os.WriteFile(k.File+".pub", ssh.MarshalAuthorizedKey(k.Public), 0o644))
	return k
}

// Certify signs a certificate for another key and returns its file, which stands where ssh looks for
// it: the key's file with -cert.pub.
func (k *Key) Certify(t testing.TB, other *Key, kind uint32, principals ...string) string {
	t.Helper()
	cert := &ssh.Certificate{Key: other.Public, CertType: kind, KeyId: "test", ValidPrincipals: principals,
		ValidBefore: ssh.CertTimeInfinity}
	if kind == ssh.UserCert {
		cert.Permissions.Extensions = map[string]string{"permit-pty": "", "permit-port-forwarding": ""}
	}
	must(t, cert.SignCert(rand.Reader, k.Signer))
	f := other.File + "-cert.pub"
	must(t, os.WriteFile(f, ssh.MarshalAuthorizedKey(cert), 0o644))
	return f
}
