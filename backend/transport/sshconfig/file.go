package sshconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	config "github.com/kevinburke/ssh_config"
)

// fromFiles reads the configuration with a library, for computers without an OpenSSH client. The
// user's file comes first, as in ssh: the first value of a keyword counts.
func fromFiles(q Query) Host {
	h := defaults(q)
	files := []string{filepath.Join(HomeDir(), ".ssh", "config"), "/etc/ssh/ssh_config"}
	if q.File != "" {
		files = []string{q.File}
	}
	var read []*config.Config
	for _, f := range files {
		c, err := decode(f)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			h.Warnings = append(h.Warnings, fmt.Sprintf("%s is not used, because it can't be read without an ssh client: %v", f,
				err))
		default:
			read = append(read, c)
			h.From = "ssh_config"
		}
	}
	first := func(key string) string {
		for _, c := range read {
			if v, err := c.Get(q.Host, key); err == nil && v != "" {
				return v
			}
		}
		return ""
	}
	for _, key := range []string{"hostname", "hostkeyalias", "proxycommand", "identityagent", "identitiesonly",
		"userknownhostsfile",
		"globalknownhostsfile", "knownhostscommand", "stricthostkeychecking", "hashknownhosts", "connecttimeout", "batchmode",
		"pubkeyauthentication",
		"passwordauthentication", "kbdinteractiveauthentication", "ciphers", "macs", "kexalgorithms", "hostkeyalgorithms"} {
		if v := first(key); v != "" {
			h.set(key, v)
		}
	}
	if q.User == "" {
		h.User = first("user")
	}
	if v := first("port"); q.Port == 0 && v != "" {
		h.set("port", v)
	}
	// Of ProxyJump and ProxyCommand the one that comes first counts; the library does not tell, so
	// ProxyJump, the more usual one, does.
	if v := first("proxyjump"); v != "" {
		h.set("proxyjump", v)
		h.ProxyCommand = ""
	}
	for _, key := range []string{"identityfile", "certificatefile"} {
		for _, c := range read {
			vs, err := c.GetAll(q.Host, key)
			if err != nil {
				continue
			}
			for _, v := range vs {
				h.set(key, v)
			}
		}
	}
	return h
}

func decode(file string) (c *config.Config, err error) {
	// The library panics on some Include loops; a file from outside must not end the daemon.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return config.Decode(f)
}
