package backend

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// selectors are the variables that say which account, region, configuration or agent is meant. None holds a secret.
var selectors = []string{
	"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE",
	"AWS_SHARED_CREDENTIALS_FILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE",
	"AZURE_CONFIG_DIR", "AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID",
	"CLOUDSDK_CONFIG", "CLOUDSDK_ACTIVE_CONFIG_NAME", "CLOUDSDK_CORE_PROJECT",
	"GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS",
	"SSH_AUTH_SOCK", "BERTH_SSH_CONFIG", "PATH", "HOME", "USER",
}

// proxies are the variables with the URL of a proxy, in capital letters; small ones count as well.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"}

// providers begin the names of the variables that providers read.
var providers = []string{"AWS_", "AZURE_", "GOOGLE_", "CLOUDSDK_"}

// Selectors are the part of an environment that says which account, region, configuration or agent is meant, and how
// it is reached: never a secret. It may be stored, and used when the call is over.
func Selectors(env map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range env {
		if v, ok := selector(k, v); ok {
			out[k] = v
		}
	}
	return out
}

// selector is what may be kept of a variable.
func selector(name, value string) (kept string, ok bool) {
	upper := strings.ToUpper(name)
	switch {
	case value == "" || strings.ContainsFunc(value, unicode.IsControl):
		return "", false
	case slices.Contains(proxies, upper):
		return proxy(value)
	case upper == "NO_PROXY":
		return value, true
	case name == "GOOGLE_APPLICATION_CREDENTIALS" && strings.Contains(value, "{"): // the key itself, not its path
		return "", false
	}
	return value, slices.Contains(selectors, name)
}

var proxySchemes = []string{"http", "https", "socks4", "socks5", "socks5h"}

// hostOnly is a host with or without a port.
var hostOnly = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?$`)
})

// proxy is the URL of a proxy without user and password. What can't be read is not kept.
func proxy(value string) (string, bool) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" { // host:port is meant, perhaps with a user
		if u, err = url.Parse("http://" + value); err != nil {
			return "", false
		}
	}
	// Of a password with / ? or #, what reads as the host is the user, or a part of the password.
	if i := strings.LastIndex(value, "@"); i >= 0 && !strings.HasPrefix(value[i+1:], u.Host) {
		return "", false
	}
	if !hostOnly().MatchString(u.Host) || !slices.Contains(proxySchemes, u.Scheme) {
		return "", false
	}
	return u.Scheme + "://" + u.Host, true
}

// Carried reports whether a call carries a variable of its environment: where it lacks one, nobody else's is taken.
func Carried(name string) bool {
	switch {
	case slices.Contains(selectors, name), name == "SSH_CONNECTION", strings.HasPrefix(name, "BERTH_"),
		strings.HasSuffix(strings.ToUpper(name), "_PROXY"):
		return true
	}
	return OfProvider(name)
}

// OfProvider reports whether providers read a variable.
func OfProvider(name string) bool {
	return slices.ContainsFunc(providers, func(p string) bool { return strings.HasPrefix(name, p) })
}

// Fingerprint tells one environment from another. It is kept in memory only, as it is made of secrets.
func Fingerprint(env map[string]string) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(h, "%d %s %d %s", len(k), k, len(env[k]), env[k])
	}
	h.Sum(sum[:0])
	return sum
}

// Withheld are the names of the variables with what Selectors leaves out: credentials, and proxies with a password.
func Withheld(env map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		kept, ok := selector(k, env[k])
		upper := strings.ToUpper(k)
		switch {
		case env[k] == "":
		case slices.Contains(proxies, upper):
			if !ok || strings.Contains(env[k], "@") && kept != env[k] {
				out = append(out, k)
			}
		case !ok && OfProvider(k):
			out = append(out, k)
		}
	}
	return out
}

// SameAccount reports whether two environments name the same account, as far as their selectors tell: where an agent
// or a program is found does not count.
func SameAccount(a, b map[string]string) bool {
	named := func(env map[string]string) map[string]string {
		out := Selectors(env)
		maps.DeleteFunc(out, func(k, _ string) bool { return !OfProvider(k) })
		return out
	}
	return maps.Equal(named(a), named(b))
}

// NormalIdentity is a person as a provider names them, without what differs from sign-in to sign-in: a role that was
// assumed at AWS loses the name of its session.
func NormalIdentity(who string) string {
	who = strings.TrimSpace(who)
	if role, rest, ok := strings.Cut(who, ":assumed-role/"); ok && strings.HasPrefix(who, "arn:") {
		name, _, _ := strings.Cut(rest, "/")
		return role + ":assumed-role/" + name
	}
	return who
}
