package ssh

import (
	"slices"

	gossh "golang.org/x/crypto/ssh"

	"berth/backend/api"
	"berth/backend/transport/sshconfig"
)

// algorithmsOf is what to offer a host: what its configuration allows, nil where that says nothing. What is out of
// use is offered only where the configuration names it.
func algorithmsOf(t *target, keys *hostKeys) (gossh.Algorithms, error) {
	asked := t.host.Algorithms
	var usual gossh.Config
	usual.SetDefaults()
	safe, old := gossh.SupportedAlgorithms(), gossh.InsecureAlgorithms()
	var out gossh.Algorithms
	for _, c := range []struct {
		keyword, list string
		usual         []string
		all           []string
		to            *[]string
	}{
		{"Ciphers", asked.Ciphers, usual.Ciphers, slices.Concat(safe.Ciphers, old.Ciphers), &out.Ciphers},
		{"MACs", asked.MACs, usual.MACs, slices.Concat(safe.MACs, old.MACs), &out.MACs},
		{"KexAlgorithms", asked.KeyExchanges, usual.KeyExchanges, slices.Concat(safe.KeyExchanges, old.KeyExchanges),
			&out.KeyExchanges},
		{"HostKeyAlgorithms", asked.HostKeys, safe.HostKeys, slices.Concat(safe.HostKeys, old.HostKeys), &out.HostKeys},
	} {
		*c.to = sshconfig.Choose(c.list, c.usual, c.all)
		if c.list != "" && len(*c.to) == 0 {
			return gossh.Algorithms{}, api.Errorf(api.CodeUnreachable,
				"the SSH configuration of %s allows the %s %.200q only, none of which Berth knows", t.where(), c.keyword, c.list).
				WithHint("allow another one in ~/.ssh/config, or use the user's own ssh for this host: transport = \"openssh\"")
		}
	}
	ordered := keys.algorithms() // by what is known of the host; nil: as usual
	if out.HostKeys == nil || ordered == nil {
		out.HostKeys = slices.Concat(ordered, out.HostKeys)
		return out, nil
	}
	// A pin says more than a list, which only adds to what the pinned key may sign with.
	allowed := out.HostKeys
	out.HostKeys = nil
	for _, a := range ordered {
		if keys.only != nil || slices.Contains(allowed, a) {
			out.HostKeys = append(out.HostKeys, a)
		}
	}
	for _, a := range allowed {
		if !slices.Contains(safe.HostKeys, a) && (keys.only == nil || (a == gossh.KeyAlgoRSA && slices.Contains(keys.only,
			gossh.KeyAlgoRSASHA512))) {
			out.HostKeys = append(out.HostKeys, a)
		}
	}
	return out, nil
}
