package image

import (
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"
)

var bsdLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(SHA256|SHA512) ?\((.+)\) ?= ?([0-9a-fA-F]+)$`)
})

// parseChecksums finds a file in a list of checksums: lines of sha256sum or sha512sum, with * for binary,
// or of their --tag style. It returns the digest in small letters: 64 digits are SHA-256, 128 SHA-512. Two
// different digests for one name are an error.
func parseChecksums(text, file string) (string, error) {
	found := ""
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, "\r\n")
		var digest, name string
		if m := bsdLine().FindStringSubmatch(l); m != nil {
			digest, name = m[3], m[2]
			if want := map[string]int{"SHA256": 64, "SHA512": 128}[m[1]]; len(digest) != want {
				continue
			}
		} else {
			var ok bool
			if digest, name, ok = strings.Cut(l, " "); !ok {
				continue
			}
			name = strings.TrimPrefix(strings.TrimPrefix(name, " "), "*")
		}
		if _, err := hex.DecodeString(digest); err != nil || (len(digest) != 64 && len(digest) != 128) {
			continue
		}
		if path.Clean("/"+name) != path.Clean("/"+file) {
			continue
		}
		digest = strings.ToLower(digest)
		if found != "" && len(found) == len(digest) && found != digest {
			return "", fmt.Errorf("it has two different checksums for %s", file)
		}
		if len(digest) > len(found) {
			found = digest
		}
	}
	if found == "" {
		return "", fmt.Errorf("it has no SHA-256 or SHA-512 checksum for %s", file)
	}
	return found, nil
}
