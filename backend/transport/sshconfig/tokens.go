package sshconfig

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// usual are the tokens of most keywords that have any, as in the section TOKENS of ssh_config(5).
const usual = "%CdhijkLlnpru"

// tokens are the tokens that each keyword accepts (its name in lower case), as ssh_config(5) has them; a test holds it
// against that page. A keyword that is not here accepts none.
var tokens = map[string]string{
	"certificatefile":    usual,
	"controlpath":        usual,
	"hostname":           "%h",
	"identityagent":      usual,
	"identityfile":       usual,
	"include":            usual,
	"knownhostscommand":  usual + "fHIKt",
	"localcommand":       usual + "fHIKtT",
	"localforward":       usual,
	"match exec":         usual,
	"proxycommand":       "%hnpr",
	"proxyjump":          "%hnpr",
	"remotecommand":      usual,
	"remoteforward":      usual,
	"revokedhostkeys":    usual,
	"userknownhostsfile": usual,
	"versionaddendum":    usual,
}

// variables are the keywords whose values hold ${VARIABLES}. A ProxyCommand is none of them: its shell knows them.
var variables = map[string]bool{
	"certificatefile": true, "controlpath": true, "identityagent": true, "identityfile": true, "include": true,
	"knownhostscommand": true, "userknownhostsfile": true,
}

// Expander replaces OpenSSH's tokens and ${VARIABLES}.
type Expander struct {
	h    Host
	env  map[string]string
	more map[byte]string
}

// NewExpander returns one for h with the caller's environment.
func NewExpander(h Host, env map[string]string) Expander { return Expander{h: h, env: env} }

// With returns an Expander that knows further tokens: of a host key, say.
func (e Expander) With(more map[byte]string) Expander {
	e.more = more
	return e
}

// Path expands a value of keyword that names a file: a ~ at its beginning, too.
func (e Expander) Path(keyword, p string) (string, error) {
	if p == "~" || strings.HasPrefix(p, "~/") {
		p = filepath.Join(HomeDir(), p[1:])
	}
	return e.Expand(keyword, p)
}

// Expand replaces the tokens that keyword accepts, and ${VARIABLES} where it has them. A token that it does not accept
// and a variable that is not set are errors, as for ssh.
func (e Expander) Expand(keyword, s string) (string, error) {
	keyword = strings.ToLower(keyword)
	accepted, vars := tokens[keyword], variables[keyword]
	if accepted == "" {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%':
			i++
			if i == len(s) {
				return "", fmt.Errorf("%s %q ends in the middle of a token", keyword, s)
			}
			v, ok := e.token(s[i])
			if !ok || strings.IndexByte(accepted, s[i]) < 0 {
				return "", fmt.Errorf("%s %q holds %%%c, which is no token of that keyword", keyword, s, s[i])
			}
			b.WriteString(v)
		case vars && strings.HasPrefix(s[i:], "${"):
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return "", fmt.Errorf("%s %q holds a ${ that is not closed", keyword, s)
			}
			v, ok := e.getenv(s[i+2 : i+end])
			if !ok {
				return "", fmt.Errorf("%s %q holds a variable that is not set: %s", keyword, s, s[i+2:i+end])
			}
			b.WriteString(v)
			i += end
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

func (e Expander) token(c byte) (string, bool) {
	local, _ := os.Hostname()
	short, _, _ := strings.Cut(local, ".")
	port := strconv.Itoa(e.h.Port)
	jump := strings.Join(e.h.ProxyJump, ",")
	switch c {
	case '%':
		return "%", true
	case 'h':
		return e.h.Hostname, true
	case 'n':
		return e.h.Alias, true
	case 'k':
		if e.h.HostKeyAlias != "" {
			return e.h.HostKeyAlias, true
		}
		return e.h.Alias, true
	case 'p':
		return port, true
	case 'r':
		return e.h.User, true
	case 'u':
		return userName(), true
	case 'd':
		return HomeDir(), true
	case 'i':
		return strconv.Itoa(os.Getuid()), true
	case 'l':
		return local, true
	case 'L':
		return short, true
	case 'j':
		return jump, true
	case 'C':
		sum := sha1.Sum([]byte(local + e.h.Hostname + port + e.h.User + jump))
		return hex.EncodeToString(sum[:]), true
	}
	v, ok := e.more[c]
	return v, ok
}

func (e Expander) getenv(k string) (string, bool) {
	if v, ok := e.env[k]; ok || foreign(k) {
		return v, ok
	}
	return os.LookupEnv(k)
}
