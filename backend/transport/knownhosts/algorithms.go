package knownhosts

import (
	"slices"

	"golang.org/x/crypto/ssh"
)

// Algorithms returns the host key algorithms to offer for n, in this order: certificates if an
// authority is known for n; the types of known keys; all other types. So a server shows a key that
// can be judged, if it has one.
func (db *DB) Algorithms(n Name) []string {
	supported := ssh.SupportedAlgorithms().HostKeys
	var plain, certs []string
	for _, a := range supported {
		if isCert(a) {
			certs = append(certs, a)
		} else {
			plain = append(plain, a)
		}
	}
	exact, bare := db.known(n)
	var known, rest []string
	for _, a := range plain {
		if slices.ContainsFunc(append(exact, bare...), func(l Line) bool { return l.Key.Type() == keyFormat(a) }) {
			known = append(known, a)
		} else {
			rest = append(rest, a)
		}
	}
	var out []string
	if len(db.authorities(n)) > 0 {
		out = certs
	}
	return append(append(out, known...), rest...)
}

func isCert(algo string) bool {
	return len(algo) > len("-cert-v01@openssh.com") &&
		algo[len(algo)-len("-cert-v01@openssh.com"):] == "-cert-v01@openssh.com"
}

// keyFormat is the type of key that an algorithm uses.
func keyFormat(algo string) string {
	switch algo {
	case ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512:
		return ssh.KeyAlgoRSA
	}
	return algo
}
