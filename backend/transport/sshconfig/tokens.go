package sshconfig

import (
	"crypto/sha1"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Expander replaces OpenSSH's tokens and ${VARIABLES}.
type Expander struct {
	h   Host
	env map[string]string
}

// NewExpander returns one for h with the caller's environment.
func NewExpander(h Host, env map[string]string) Expander { return Expander{h, env} }

// Hostname is the HostName with %h (the name that was asked for) replaced.
func (e Expander) Hostname() string {
	return strings.NewReplacer("%%", "%", "%h", e.h.Alias).Replace(e.h.Hostname)
}

// Path expands ~, ~user is left alone, %-tokens and ${VAR}.
func (e Expander) Path(p string) string {
	if p == "~" || strings.HasPrefix(p, "~/") {
		p = filepath.Join(HomeDir(), p[1:])
	}
	if strings.HasPrefix(p, "$") && !strings.HasPrefix(p, "${") {
		return e.getenv(p[1:]) // IdentityAgent $VAR
	}
	return e.Tokens(p)
}

// Command expands a ProxyCommand.
func (e Expander) Command(c string) string { return e.Tokens(c) }

// Tokens replaces %-tokens and ${VAR}; an unknown token is left as it is.
func (e Expander) Tokens(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%' && i+1 < len(s):
			i++
			if v, ok := e.token(s[i]); ok {
				b.WriteString(v)
			} else {
				b.WriteByte('%')
				b.WriteByte(s[i])
			}
		case s[i] == '$' && i+1 < len(s) && s[i+1] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				b.WriteString(s[i:])
				return b.String()
			}
			b.WriteString(e.getenv(s[i+2 : i+end]))
			i += end
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func (e Expander) token(c byte) (string, bool) {
	local, _ := os.Hostname()
	short, _, _ := strings.Cut(local, ".")
	port := strconv.Itoa(e.h.Port)
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
		return strings.Join(e.h.ProxyJump, ","), true
	case 'C':
		sum := sha1.Sum([]byte(local + e.h.Hostname + port + e.h.User))
		return hex.EncodeToString(sum[:]), true
	}
	return "", false
}

func (e Expander) getenv(k string) string {
	if v, ok := e.env[k]; ok || foreign(k) {
		return v
	}
	return os.Getenv(k)
}
