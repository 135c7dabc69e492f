package sshconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Why a KnownHostsCommand is run (%I).
const (
	ForOrder    = "ORDER"    // what the host's keys may be, to ask for one of these
	ForHostname = "HOSTNAME" // to judge the key that the host has shown
)

// commandPatience is how long a KnownHostsCommand may take.
const commandPatience = 30 * time.Second

// maxKnown bounds what a KnownHostsCommand may print, in bytes.
const maxKnown = 16 << 20

// AskedKey is what a KnownHostsCommand is told beside what the usual tokens say. Before a key was shown, the key's
// parts are NONE.
type AskedKey struct {
	Host        string // as known_hosts names it (%H)
	Why         string // %I
	Type        string // %t
	Fingerprint string // %f
	Base64      string // %K
}

// KnownHosts runs the host's KnownHostsCommand and returns what it printed: lines of known hosts. As for ssh it is no
// shell's command, its program has an absolute path, and any other end than with status 0 is an error.
func (h Host) KnownHosts(ctx context.Context, env map[string]string, k AskedKey) ([]byte, error) {
	none := func(s string) string {
		if s == "" {
			return "NONE"
		}
		return s
	}
	e := NewExpander(h, env).With(map[byte]string{'H': k.Host, 'I': k.Why, 't': none(k.Type), 'f': none(k.Fingerprint),
		'K': none(k.Base64)})
	argv, err := splitArguments(h.KnownHostsCommand)
	if err != nil {
		return nil, fmt.Errorf("the KnownHostsCommand %q: %w", h.KnownHostsCommand, err)
	}
	for i := range argv {
		if argv[i], err = e.Expand("KnownHostsCommand", argv[i]); err != nil {
			return nil, err
		}
	}
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return nil, fmt.Errorf("the KnownHostsCommand %q does not begin with an absolute path", h.KnownHostsCommand)
	}
	ctx, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = Environ(env)
	cmd.WaitDelay = time.Second
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &limited{&out, maxKnown}, &limited{&stderr, 4 << 10}
	if err := cmd.Run(); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("it has not ended within %v", commandPatience)
		}
		if said := firstLine(stderr.String()); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return nil, fmt.Errorf("the KnownHostsCommand %s failed: %w", strings.Join(argv, " "), err)
	}
	return out.Bytes(), nil
}

// limited is a buffer that takes so many bytes and drops the rest.
type limited struct {
	*bytes.Buffer
	left int
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.Buffer.Write(p[:n])
	l.left -= n
	return len(p), nil
}

// splitArguments splits a command line as ssh does where no shell is asked: by white space, with both kinds of quotes,
// and a backslash before a quote, a backslash and, outside of quotes, a space.
func splitArguments(s string) (out []string, err error) {
	var cur strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s) && (strings.IndexByte(`'"\`, s[i+1]) >= 0 || quote == 0 && s[i+1] == ' '):
			i++
			cur.WriteByte(s[i])
			in = true
		case quote == 0 && (c == ' ' || c == '\t'):
			if in {
				out = append(out, cur.String())
				cur.Reset()
			}
			in = false
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote != 0 && c == quote:
			quote = 0
		default:
			cur.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if in {
		out = append(out, cur.String())
	}
	return out, nil
}
