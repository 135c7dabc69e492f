package notify

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"berth/backend/agent/environ"
)

// errProxy is a proxy that can't be used. It does not say which one: its address may have a password.
var errProxy = errors.New("the proxy can't be used")

// proxyOf chooses the proxy of a request as an environment says: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or the same in
// small letters, which go first. Where the environment says nothing of proxies, the agent's own counts.
func proxyOf(env []string) func(*http.Request) (*url.URL, error) {
	get := func(name string) string {
		if s := environ.Lookup(env, strings.ToLower(name)); s != "" {
			return s
		}
		return environ.Lookup(env, name)
	}
	plain, secure, none := get("HTTP_PROXY"), get("HTTPS_PROXY"), get("NO_PROXY")
	if plain+secure+none == "" {
		return http.ProxyFromEnvironment
	}
	return func(r *http.Request) (*url.URL, error) {
		proxy := plain
		if r.URL.Scheme == "https" {
			proxy = secure
		}
		if proxy == "" || direct(none, r.URL) {
			return nil, nil
		}
		if !strings.Contains(proxy, "://") {
			proxy = "http://" + proxy
		}
		u, err := url.Parse(proxy)
		if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
			return nil, errProxy
		}
		return u, nil
	}
}

// direct reports whether NO_PROXY, or that it is of this very host, says that an address is reached without a proxy.
func direct(none string, u *url.URL) bool {
	host, port := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ip, err := netip.ParseAddr(host)
	isIP := err == nil
	if host == "localhost" || isIP && ip.Unmap().IsLoopback() {
		return true
	}
	for _, s := range strings.FieldsFunc(none, func(r rune) bool { return r == ',' || r == ' ' }) {
		if s == "*" {
			return true
		}
		if net4, err := netip.ParsePrefix(s); err == nil {
			if isIP && net4.Contains(ip.Unmap()) {
				return true
			}
			continue
		}
		if h, p, err := net.SplitHostPort(s); err == nil {
			if p != port {
				continue
			}
			s = h
		}
		s = strings.ToLower(strings.Trim(s, "[]"))
		if other, err := netip.ParseAddr(s); err == nil {
			if isIP && other.Unmap() == ip.Unmap() {
				return true
			}
			continue
		}
		s = strings.TrimPrefix(s, "*") // "*.example.org" is ".example.org"
		below := strings.HasPrefix(s, ".")
		if s = strings.Trim(s, "."); s != "" && (host == s && !below || strings.HasSuffix(host, "."+s)) {
			return true
		}
	}
	return false
}
