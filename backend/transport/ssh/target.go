package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/knownhosts"
	"berth/backend/transport/sshconfig"
)

const (
	// patience is how long a host may take to accept and to name its version, where ConnectTimeout
	// does not say.
	patience = 10 * time.Second
	// maxJumps bounds a chain of jump hosts; a longer one is a loop in the configuration.
	maxJumps = 8
)

// target is a host resolved: all that decides whether two instances share a connection.
type target struct {
	ssh  backend.SSHTarget
	host sshconfig.Host
	via  *target
	jump bool     // another host is reached through it
	pins []string // fingerprints that count as known; without jump, nothing else does
	id   string
}

// where names the target in messages.
func (t *target) where() string {
	s := fmt.Sprintf("%s@%s", t.host.User, t.host.Addr())
	if t.host.Alias != t.host.Hostname {
		s = fmt.Sprintf("%s (%s)", t.host.Alias, s)
	}
	if t.via != nil {
		s += " through " + t.via.host.Alias
	}
	return s
}

func (t *target) limit() time.Duration {
	if t.host.ConnectTimeout > 0 {
		return t.host.ConnectTimeout
	}
	return patience
}

// name is how the target stands in known_hosts.
func (t *target) name() knownhosts.Name {
	return knownhosts.Name{Host: strings.ToLower(t.host.Hostname), Port: t.host.Port, Alias: t.host.HostKeyAlias}
}

// digest is the id as a file name.
func (t *target) digest() string {
	sum := sha256.Sum256([]byte(t.id))
	return hex.EncodeToString(sum[:12])
}

func (m *Manager) resolve(ctx context.Context, s backend.SSHTarget) (*target, error) {
	return m.resolveHop(ctx, s, nil, 0)
}

// resolveHop resolves one host. chain, if not nil, is how it is reached, instead of its own ProxyJump.
func (m *Manager) resolveHop(ctx context.Context, s backend.SSHTarget, chain []string, depth int) (*target, error) {
	if depth > maxJumps {
		return nil, api.Errorf(api.CodeUsage,
			"%s is reached through more than %d jump hosts: ProxyJump in ~/.ssh/config goes round in circles", s.Host, maxJumps)
	}
	env := backend.CallerFrom(ctx).Env
	if s.Made && s.Via != "" {
		chain = []string{s.Via}
	}
	file := m.o.SSHConfig
	if f := env["BERTH_SSH_CONFIG"]; f != "" {
		file = f
	}
	h, err := m.lookUp(ctx, s, sshconfig.Query{Host: s.Host, User: s.User, Port: s.Port, Env: env, File: file})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, api.Errorf(api.CodeUsage, "how %s is reached can't be said: %w", s.Host, err).
			WithHint("give user@host, user@host:port or a Host of ~/.ssh/config, and mend what stands there")
	}
	for _, w := range h.Warnings {
		m.o.Log.Warn("ssh configuration", "host", s.Host, "problem", w)
	}
	if s.IdentityFile != "" && !s.Made {
		h.IdentityFiles = append([]string{s.IdentityFile}, h.IdentityFiles...)
	}
	t := &target{ssh: s, host: h, jump: depth > 0, pins: splitPins(s.HostKey)}
	if chain == nil {
		chain = h.ProxyJump
	}
	if len(chain) > 0 && s.Transport == "" {
		last := chain[len(chain)-1]
		j, ok := sshconfig.ParseJump(last)
		if !ok {
			return nil, api.Errorf(api.CodeUsage,
				"%q, through which %s is reached, is not the name of a host (ProxyJump in ~/.ssh/config)", last, s.Host)
		}
		// The hop before is reached through the rest of the chain, or, if it is the first, as its
		// own configuration says.
		rest := chain[:len(chain)-1]
		if len(rest) == 0 {
			rest = nil
		}
		hop := backend.SSHTarget{Host: j.Host, User: j.User, Port: j.Port, HostKey: s.HostKey, PinnedBy: s.PinnedBy}
		if s.Made { // the key is the machine's alone
			hop.HostKey, hop.PinnedBy = "", ""
		}
		t.via, err = m.resolveHop(ctx, hop, rest, depth+1)
		if err != nil {
			return nil, err
		}
		t.host.ProxyCommand = ""
	}
	key := s.HostKey
	if t.jump {
		key = "" // whoever goes through it shares it
	}
	t.id = fmt.Sprintf("%s@%s key=%s identity=%s alias=%s transport=%s proxy=%s", h.User, h.Addr(), key, s.IdentityFile,
		h.HostKeyAlias,
		s.Transport, t.host.ProxyCommand)
	if t.via != nil {
		t.id += " via " + t.via.id
	}
	return t, nil
}

// lookUp asks the user's configuration how a host is reached. For a machine that Berth made there is
// nothing to ask: its address may be one that the configuration means for another.
func (m *Manager) lookUp(ctx context.Context, s backend.SSHTarget, q sshconfig.Query) (sshconfig.Host, error) {
	if s.Made {
		return sshconfig.Bare(q, s.IdentityFile), nil
	}
	return sshconfig.Resolve(ctx, q)
}
