package notify

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

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
	c := httpproxy.Config{HTTPProxy: get("HTTP_PROXY"), HTTPSProxy: get("HTTPS_PROXY"), NoProxy: get("NO_PROXY")}
	if c == (httpproxy.Config{}) {
		return http.ProxyFromEnvironment
	}
	choose := c.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) {
		named := c.HTTPProxy
		if r.URL.Scheme == "https" {
			named = c.HTTPSProxy
		}
		u, err := choose(r.URL)
		if err != nil || named != "" && !usable(named) { // the library takes what it can't read for none
			return nil, errProxy
		}
		return u, nil
	}
}

func usable(proxy string) bool {
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy
	}
	u, err := url.Parse(proxy)
	return err == nil && u.Host != "" && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}
