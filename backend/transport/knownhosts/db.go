package knownhosts

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/crypto/ssh"
)

// maxFile bounds what is read of one file, in bytes.
const maxFile = 64 << 20

// DB holds the lines of some files.
type DB struct {
	lines    []Line
	files    int      // how many of the lines are of files
	Warnings []string // files that could not be read; missing files are none
}

// Load reads files in order. It never fails: what can't be read is said in Warnings.
func Load(files ...string) *DB {
	db := &DB{}
	for _, name := range files {
		if err := db.load(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			db.Warnings = append(db.Warnings, fmt.Sprintf("reading known host keys: %v", err))
		}
	}
	db.files = len(db.lines)
	return db
}

// Read adds lines that come from elsewhere: a command, say, which name names for people.
func (db *DB) Read(name string, r io.Reader) {
	if err := db.read(name, r); err != nil {
		db.Warnings = append(db.Warnings, fmt.Sprintf("reading %s: %v", name, err))
	}
}

// Files returns what was loaded from files alone.
func (db *DB) Files() *DB {
	return &DB{lines: slices.Clip(db.lines[:db.files]), files: db.files, Warnings: db.Warnings}
}

func (db *DB) load(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return db.read(name, io.LimitReader(f, maxFile))
}

func (db *DB) read(name string, r io.Reader) error {
	br := bufio.NewReader(r)
	for n := 1; ; n++ {
		b, err := br.ReadBytes('\n')
		// A certificate authority's line is long, but no key is longer than this.
		if len(b) > 0 && len(b) < 64<<10 {
			if l, perr := ParseLine(b); perr == nil {
				l.File, l.Number = name, n
				db.lines = append(db.lines, l)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Name is one host as it is looked up.
type Name struct {
	Host  string // a name or address
	Port  int
	Alias string // HostKeyAlias: looked up instead, without a port
}

// String is the name under which a key is stored.
func (n Name) String() string {
	if n.Alias != "" {
		return n.Alias
	}
	if n.Port == 22 || n.Port == 0 {
		return n.Host
	}
	return "[" + n.Host + "]:" + strconv.Itoa(n.Port)
}

// principal is the name that a host certificate must hold.
func (n Name) principal() string {
	if n.Alias != "" {
		return n.Alias
	}
	return n.Host
}

func (db *DB) match(m Marker, name string) []Line {
	var out []Line
	for _, l := range db.lines {
		if l.Marker == m && l.Match(name) {
			out = append(out, l)
		}
	}
	return out
}

// known returns the lines that may vouch for n: exact are those that contradict another key too;
// bare, for the name without its port, only confirm.
func (db *DB) known(n Name) (exact, bare []Line) {
	exact = db.match(Plain, n.String())
	if bareName := n.principal(); bareName != n.String() {
		bare = db.match(Plain, bareName)
	}
	return exact, bare
}

func (db *DB) authorities(n Name) []Line {
	out := db.match(Authority, n.String())
	if n.principal() != n.String() {
		out = append(out, db.match(Authority, n.principal())...)
	}
	return out
}

// Errors of Check, for errors.As.
type (
	// UnknownError means that nothing is known of the host. Others are lines with keys of other types.
	UnknownError struct {
		Key    ssh.PublicKey // the plain key, also if a certificate was shown
		Others []Line
	}
	// ChangedError means that another key of the same type is known.
	ChangedError struct {
		Key  ssh.PublicKey
		Want []Line
	}
	// RevokedError means that the key, or the authority that signed it, is revoked.
	RevokedError struct {
		Key  ssh.PublicKey
		Line Line
	}
)

// Error implements error.
func (e *UnknownError) Error() string {
	return "the host key " + ssh.FingerprintSHA256(e.Key) + " is not known"
}

// Error implements error.
func (e *ChangedError) Error() string {
	return fmt.Sprintf("the host key has changed: it is %s, known is %s (%s:%d)", ssh.FingerprintSHA256(e.Key),
		ssh.FingerprintSHA256(e.Want[0].Key), e.Want[0].File, e.Want[0].Number)
}

// Error implements error.
func (e *RevokedError) Error() string {
	return fmt.Sprintf("the host key %s is revoked (%s:%d)", ssh.FingerprintSHA256(e.Key), e.Line.File, e.Line.Number)
}

// Check judges the key that a server showed: nil, or one of the three errors.
func (db *DB) Check(n Name, key ssh.PublicKey) error {
	plain := key
	cert, isCert := key.(*ssh.Certificate)
	if isCert {
		plain = cert.Key
	}
	if err := db.revoked(n, plain); err != nil {
		return err
	}
	if isCert {
		if err := db.revoked(n, cert.SignatureKey); err != nil {
			return err
		}
		if db.certified(n, cert) {
			return nil
		}
		// As OpenSSH does, go on with the plain key.
	}
	exact, bare := db.known(n)
	for _, l := range append(exact, bare...) {
		if same(l.Key, plain) {
			return nil
		}
	}
	var others, changed []Line
	for _, l := range exact {
		if l.Key.Type() == plain.Type() {
			changed = append(changed, l)
		} else {
			others = append(others, l)
		}
	}
	if len(changed) > 0 {
		return &ChangedError{Key: plain, Want: changed}
	}
	return &UnknownError{Key: plain, Others: others}
}

func (db *DB) revoked(n Name, key ssh.PublicKey) error {
	for _, name := range []string{n.String(), n.principal()} {
		for _, l := range db.match(Revoked, name) {
			if same(l.Key, key) {
				return &RevokedError{Key: key, Line: l}
			}
		}
	}
	return nil
}

// certified reports whether an authority known for n signed the certificate, for this host, for now.
func (db *DB) certified(n Name, cert *ssh.Certificate) bool {
	if cert.CertType != ssh.HostCert {
		return false
	}
	for _, l := range db.authorities(n) {
		if !same(l.Key, cert.SignatureKey) {
			continue
		}
		checker := ssh.CertChecker{IsHostAuthority: func(auth ssh.PublicKey, _ string) bool { return same(auth, l.Key) }}
		if principalFits(n.principal(), cert) && checker.CheckCert(certPrincipal(n.principal(), cert), cert) == nil {
			return true
		}
	}
	return false
}

// principalFits matches a certificate's names as OpenSSH does, which takes wildcards in them. A
// certificate without names is good for no host.
func principalFits(host string, cert *ssh.Certificate) bool {
	return certPrincipal(host, cert) != ""
}

func certPrincipal(host string, cert *ssh.Certificate) string {
	for _, p := range cert.ValidPrincipals {
		if wildcard(p, host) {
			return p
		}
	}
	return ""
}

func same(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }
