package knownhosts

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Marker says what a line is about.
type Marker string

// The markers of a line.
const (
	Plain     Marker = ""
	Authority Marker = "@cert-authority"
	Revoked   Marker = "@revoked"
)

// Line is one line of a file of known hosts.
type Line struct {
	File   string
	Number int // from 1
	Marker Marker
	Hosts  string // patterns, or one hashed name
	Key    ssh.PublicKey
}

var errNoEntry = errors.New("no entry")

// ParseLine reads one line. Empty lines and comments are errors too.
func ParseLine(b []byte) (Line, error) {
	var l Line
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] == '#' {
		return l, errNoEntry
	}
	f := bytes.Fields(b)
	if f[0][0] == '@' {
		l.Marker = Marker(f[0])
		if l.Marker != Authority && l.Marker != Revoked {
			return l, errors.New("unknown marker")
		}
		f = f[1:]
	}
	if len(f) < 3 {
		return l, errors.New("too few fields")
	}
	l.Hosts = string(f[0])
	raw, err := base64.StdEncoding.DecodeString(string(f[2]))
	if err != nil {
		return l, err
	}
	if l.Key, err = ssh.ParsePublicKey(raw); err != nil {
		return l, err
	}
	if l.Key.Type() != string(f[1]) {
		return l, errors.New("the key is not of the type named")
	}
	return l, nil
}

// Match reports whether the line is about name: a host, or [host]:port.
func (l Line) Match(name string) bool {
	if strings.HasPrefix(l.Hosts, "|") {
		return matchHash(l.Hosts, strings.ToLower(name))
	}
	name = strings.ToLower(name)
	found := false
	for p := range strings.SplitSeq(l.Hosts, ",") {
		p, negated := strings.CutPrefix(strings.ToLower(p), "!")
		if p == "" || !wildcard(p, name) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

func matchHash(hosts, name string) bool {
	f := strings.Split(hosts, "|")
	if len(f) != 4 || f[1] != "1" {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(f[2])
	if err != nil {
		return false
	}
	want, err := base64.StdEncoding.DecodeString(f[3])
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(want, hash(salt, name)) == 1
}

func hash(salt []byte, name string) []byte {
	m := hmac.New(sha1.New, salt)
	m.Write([]byte(name))
	return m.Sum(nil)
}

// hashed returns name as OpenSSH's HashKnownHosts writes it.
func hashed(name string) string {
	salt := make([]byte, sha1.Size)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	enc := base64.StdEncoding.EncodeToString
	return "|1|" + enc(salt) + "|" + enc(hash(salt, strings.ToLower(name)))
}

// wildcard matches * and ? against the whole of s, in linear time for each star.
func wildcard(p, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
