package sshconfig

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/backend"
)

// patience is how long ssh -G may take: it runs the commands of Match exec.
const patience = 8 * time.Second

// Resolve returns how q.Host is reached. It fails only for a host name that no ssh would take.
func Resolve(ctx context.Context, q Query) (Host, error) {
	if j, ok := ParseJump(bracket(q.Host)); !ok || j.Host != q.Host || strings.HasPrefix(q.User, "-") {
		return Host{}, fmt.Errorf("%q is not the name of a host", q.Host)
	}
	h, err := askSSH(ctx, q)
	if err != nil {
		if ctx.Err() != nil {
			return Host{}, ctx.Err()
		}
		h = fromFiles(q)
		if !errors.Is(err, exec.ErrNotFound) {
			h.Warnings = append(h.Warnings, fmt.Sprintf("the user's own ssh could not be asked how %s is reached: %v", q.Host,
				err))
		}
	}
	return complete(h, q)
}

// bracket puts a bare IPv6 address between brackets, so that it is not taken for host:port.
func bracket(host string) string {
	if strings.Count(host, ":") > 0 && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

func askSSH(ctx context.Context, q Query) (Host, error) {
	prog, err := LookPath("ssh", q.Env)
	if err != nil {
		return Host{}, exec.ErrNotFound
	}
	args := []string{"-G"}
	if q.File != "" {
		args = append(args, "-F", q.File)
	}
	if q.User != "" {
		args = append(args, "-l", q.User)
	}
	if q.Port != 0 {
		args = append(args, "-p", strconv.Itoa(q.Port))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, prog, append(args, "--", q.Host)...)
	cmd.Env = Environ(q.Env)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		if msg := firstLine(stderr.String()); msg != "" {
			return Host{}, fmt.Errorf("ssh -G: %s", msg)
		}
		return Host{}, fmt.Errorf("ssh -G: %w", err)
	}
	return ParseG(q, out), nil
}

// ParseG reads what ssh -G printed. Unknown or malformed lines are passed over.
func ParseG(q Query, out []byte) Host {
	h := defaults(q)
	h.From = "ssh -G"
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		key, value, ok := strings.Cut(sc.Text(), " ")
		if ok && value != "" {
			h.set(strings.ToLower(key), value)
		}
	}
	return h
}

// complete fills in what a configuration leaves open, and replaces tokens. A setting that can't be expanded is left
// out, with a warning, as ssh does; it is an error where the host would be reached by another way then.
func complete(h Host, q Query) (Host, error) {
	if h.Hostname == "" {
		h.Hostname = q.Host
	}
	if h.Port == 0 {
		h.Port = 22
	}
	if h.User == "" {
		h.User = userName()
	}
	if len(h.IdentityFiles) == 0 {
		h.IdentityFiles = append([]string(nil), defaultIdentities...)
	}
	if h.From != "ssh -G" {
		if h.UserKnown == nil {
			h.UserKnown = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
		}
		if h.GlobalKnown == nil {
			h.GlobalKnown = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
		}
	}
	var err error
	// ssh -G has done that already, and a name that was asked for may hold a %: fe80::1%eth0.
	if h.From != "ssh -G" && h.Hostname != q.Host {
		name := h
		name.Hostname = q.Host // %h in HostName is the name that was asked for
		if h.Hostname, err = NewExpander(name, q.Env).Expand("HostName", h.Hostname); err != nil {
			return h, err
		}
	}
	e := NewExpander(h, q.Env)
	if h.ProxyCommand, err = e.Expand("ProxyCommand", h.ProxyCommand); err != nil {
		return h, err
	}
	jumps := h.ProxyJump
	h.ProxyJump = nil
	for _, j := range jumps {
		if j, err = e.Expand("ProxyJump", j); err != nil {
			return h, err
		}
		h.ProxyJump = append(h.ProxyJump, j)
	}
	path := func(keyword, p string) (string, bool) {
		out, err := e.Path(keyword, p)
		if err != nil && h.From == "ssh -G" && (keyword == "UserKnownHostsFile" || keyword == "IdentityAgent") {
			return p, true // of these it prints what they come to: it is a % of the file's name
		}
		if err != nil {
			h.Warnings = append(h.Warnings, err.Error()+"; it is left out")
		}
		return out, err == nil
	}
	for keyword, list := range map[string]*[]string{"IdentityFile": &h.IdentityFiles,
		"CertificateFile": &h.Certificates, "UserKnownHostsFile": &h.UserKnown, "GlobalKnownHostsFile": &h.GlobalKnown} {
		all := *list
		*list = nil
		for _, p := range all {
			if p, ok := path(keyword, p); ok {
				*list = append(*list, p)
			}
		}
	}
	switch a := h.IdentityAgent; {
	case a == "", a == "none", a == "SSH_AUTH_SOCK":
	case strings.HasPrefix(a, "$") && !strings.HasPrefix(a, "${"):
		h.IdentityAgent, _ = e.getenv(a[1:])
	default:
		h.IdentityAgent, _ = path("IdentityAgent", a)
	}
	return h, nil
}

// LookPath finds a program in the PATH of env, or of this process if env has none.
func LookPath(name string, env map[string]string) (string, error) {
	path, ok := env["PATH"]
	if !ok {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		p := filepath.Join(dir, name)
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", exec.ErrNotFound
}

// Environ is the caller's environment, with what no call carries (the language, say) as it is in this process. Where
// the caller has none of PATH, HOME and USER, this process's are taken.
func Environ(env map[string]string) []string {
	out := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return foreign(name)
	})
	for k, v := range env {
		if k != "" && !strings.ContainsAny(k, "=\x00") && !strings.Contains(v, "\x00") {
			out = append(out, k+"="+v)
		}
	}
	return out
}

// foreign reports whether a variable of this process is not to stand in for one that a caller lacks.
func foreign(name string) bool {
	return backend.Carried(name) && name != "PATH" && name != "HOME" && name != "USER"
}

// HomeDir is the user's home as OpenSSH knows it: that of the user database, not of $HOME.
func HomeDir() string {
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		return u.HomeDir
	}
	h, _ := os.UserHomeDir()
	return h
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(line)
}
