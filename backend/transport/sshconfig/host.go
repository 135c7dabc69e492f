package sshconfig

import (
	"strconv"
	"strings"
	"time"
)

// Query is what is asked about.
type Query struct {
	Host string            // as a user types it after ssh
	User string            // "" leaves it to the configuration
	Port int               // 0 leaves it to the configuration
	Env  map[string]string // the caller's environment
	File string            // a configuration file instead of the user's and the system's; "" for those
}

// Host is how one host is reached. Empty strings and zero durations mean "not set".
type Host struct {
	Alias          string // Query.Host
	Hostname       string
	User           string
	Port           int
	HostKeyAlias   string
	ProxyCommand   string
	ProxyJump      []string // in the order in which they are passed; each [user@]host[:port] or ssh://…
	IdentityAgent  string   // "", "none", "SSH_AUTH_SOCK", "$VAR" or a path
	IdentityFiles  []string
	IdentitiesOnly bool
	Certificates   []string
	UserKnown      []string // files of known host keys, the first is written to
	GlobalKnown    []string
	// KnownHostsCommand prints further known host keys, see KnownHosts.
	KnownHostsCommand string
	Strict            string // StrictHostKeyChecking: yes, accept-new, ask or no
	HashKnown         bool   // HashKnownHosts
	ConnectTimeout    time.Duration
	BatchMode         bool // never ask for a password or passphrase
	Pubkey            bool // PubkeyAuthentication
	Password          bool // PasswordAuthentication
	Interactive       bool // KbdInteractiveAuthentication
	SetEnv            []string
	Algorithms        Algorithms
	From              string   // "ssh -G", "ssh_config" or "defaults"
	Warnings          []string // what could not be read or is not understood, for people
}

// Addr is Hostname and Port as they stand in known_hosts: [host]:port unless the port is 22.
func (h Host) Addr() string {
	if h.Port == 22 {
		return h.Hostname
	}
	return "[" + h.Hostname + "]:" + strconv.Itoa(h.Port)
}

// Jump is one hop of a ProxyJump.
type Jump struct {
	Host string
	User string
	Port int
}

// ParseJump reads [user@]host[:port] or ssh://[user@]host[:port]; an IPv6 address stands in brackets
// if a port follows.
func ParseJump(s string) (Jump, bool) {
	s = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "ssh://"), "/")
	var j Jump
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		j.User, s = s[:i], s[i+1:]
		if j.User == "" {
			return Jump{}, false
		}
	}
	port := ""
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return Jump{}, false
		}
		rest := s[end+1:]
		s = s[1:end]
		if rest != "" {
			if rest[0] != ':' {
				return Jump{}, false
			}
			port = rest[1:]
			if port == "" {
				return Jump{}, false
			}
		}
	case strings.Count(s, ":") == 1:
		s, port, _ = strings.Cut(s, ":")
		if port == "" {
			return Jump{}, false
		}
	}
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return Jump{}, false
		}
		j.Port = n
	}
	// A name that begins with a dash would be an option to ssh -G.
	if s == "" || s[0] == '-' || strings.HasPrefix(j.User, "-") || strings.ContainsAny(s+j.User,
		" \t\r\n\x00\"'`$;&|<>()") {
		return Jump{}, false
	}
	j.Host = s
	return j, true
}

func defaults(q Query) Host {
	return Host{
		Alias: q.Host, Hostname: q.Host, User: q.User, Port: q.Port,
		Strict: "ask", Pubkey: true, Password: true, Interactive: true, From: "defaults",
	}
}

// Bare is a host without any configuration: signed in to with one key file alone, known by its pin alone.
func Bare(q Query, identity string) Host {
	h := defaults(q)
	if h.Port == 0 {
		h.Port = 22
	}
	h.Strict, h.Password, h.Interactive, h.BatchMode = "yes", false, false, true
	h.IdentityAgent, h.IdentitiesOnly, h.IdentityFiles, h.From = "none", true, []string{identity}, "Berth"
	return h
}

var defaultIdentities = []string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519",
	"~/.ssh/id_ed25519_sk"}

// set takes one keyword (lower case) with its value as ssh -G prints it.
func (h *Host) set(key, value string) {
	none := strings.EqualFold(value, "none")
	yes := value == "yes" || value == "true"
	switch key {
	case "hostname":
		h.Hostname = value
	case "user":
		h.User = value
	case "port":
		if n, err := strconv.Atoi(value); err == nil && n > 0 && n < 65536 {
			h.Port = n
		}
	case "hostkeyalias":
		h.HostKeyAlias = value
	case "proxycommand":
		if !none {
			h.ProxyCommand = value
		}
	case "proxyjump":
		if !none {
			h.ProxyJump = splitJumps(value)
		}
	case "identityagent":
		h.IdentityAgent = value
		if none {
			h.IdentityAgent = "none"
		}
	case "identityfile":
		if !none {
			h.IdentityFiles = append(h.IdentityFiles, value)
		}
	case "identitiesonly":
		h.IdentitiesOnly = yes
	case "certificatefile":
		if !none {
			h.Certificates = append(h.Certificates, value)
		}
	case "userknownhostsfile":
		h.UserKnown = paths(value)
	case "globalknownhostsfile":
		h.GlobalKnown = paths(value)
	case "knownhostscommand":
		if !none {
			h.KnownHostsCommand = value
		}
	case "stricthostkeychecking":
		h.Strict = strict(value)
	case "hashknownhosts":
		h.HashKnown = yes
	case "connecttimeout":
		h.ConnectTimeout = parseTime(value)
	case "batchmode":
		h.BatchMode = yes
	case "pubkeyauthentication":
		h.Pubkey = yes || value == "unbound" || value == "host-bound"
	case "passwordauthentication":
		h.Password = yes
	case "kbdinteractiveauthentication", "challengeresponseauthentication":
		h.Interactive = yes
	case "ciphers":
		h.Algorithms.Ciphers = value
	case "macs":
		h.Algorithms.MACs = value
	case "kexalgorithms":
		h.Algorithms.KeyExchanges = value
	case "hostkeyalgorithms":
		h.Algorithms.HostKeys = value
	case "setenv":
		if strings.Contains(value, "=") {
			h.SetEnv = append(h.SetEnv, value)
		}
	}
}

func strict(v string) string {
	switch strings.ToLower(v) {
	case "yes", "true":
		return "yes"
	case "no", "false", "off":
		return "no"
	case "accept-new":
		return "accept-new"
	}
	return "ask"
}

func splitJumps(v string) []string {
	var out []string
	for j := range strings.SplitSeq(v, ",") {
		if j = strings.TrimSpace(j); j != "" {
			out = append(out, j)
		}
	}
	return out
}

// paths splits a list of files. Names with spaces are quoted in a configuration file, but ssh -G
// prints them bare: there a name starts where a field begins with / or ~ (ssh -G makes them absolute).
func paths(v string) []string {
	if strings.EqualFold(v, "none") {
		return nil
	}
	if strings.ContainsAny(v, `"`) {
		return words(v)
	}
	var out []string
	for f := range strings.SplitSeq(v, " ") {
		switch {
		case len(out) == 0 && f != "":
			out = append(out, f)
		case len(out) == 0:
		case strings.HasPrefix(f, "/") || strings.HasPrefix(f, "~") || strings.HasPrefix(f, "%"):
			out = append(out, f)
		default:
			out[len(out)-1] += " " + f
		}
	}
	return out
}

// words splits like ssh_config: by white space, double quotes keep it.
func words(s string) []string {
	var out []string
	var cur strings.Builder
	in, quoted := false, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			quoted, in = !quoted, true
		case !quoted && (c == ' ' || c == '\t'):
			if in {
				out = append(out, cur.String())
				cur.Reset()
				in = false
			}
		default:
			cur.WriteByte(c)
			in = true
		}
	}
	if in {
		out = append(out, cur.String())
	}
	return out
}

// parseTime reads OpenSSH's time format: 90, 1m30, 2h.
func parseTime(s string) time.Duration {
	var total time.Duration
	n, digits := 0, false
	for _, c := range strings.ToLower(s) {
		unit := time.Duration(0)
		switch {
		case c >= '0' && c <= '9':
			if n > 1<<24 {
				return 0
			}
			n, digits = n*10+int(c-'0'), true
			continue
		case c == 's':
			unit = time.Second
		case c == 'm':
			unit = time.Minute
		case c == 'h':
			unit = time.Hour
		case c == 'd':
			unit = 24 * time.Hour
		case c == 'w':
			unit = 7 * 24 * time.Hour
		default:
			return 0
		}
		if !digits {
			return 0
		}
		total += time.Duration(n) * unit
		n, digits = 0, false
	}
	if digits {
		total += time.Duration(n) * time.Second
	}
	// Beyond a day it is no limit on connecting; it also keeps the sum from overflowing.
	return min(max(total, 0), 24*time.Hour)
}
