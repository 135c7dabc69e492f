package ssh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
)

// promptTries is how often passwords and codes are asked for, as in ssh.
const promptTries = 3

// authenticator signs in on one connection. It offers, in ssh's order, keys (ssh-agent's and files,
// certificates first), then the server's questions, then a password.
type authenticator struct {
	ctx     context.Context
	t       *target
	secrets *secrets
	pause   func() (resume func())

	offers  []offer
	loaded  bool
	notes   []string       // what was tried or could not be, for the error
	missing []*needsPerson // what only a person could have given
	refused error          // a question that was put and not answered: nothing else is tried then
	asked   bool
	close   []func() // connections to ssh-agents
}

// offer is one key to offer.
type offer struct {
	name   string
	signer gossh.Signer
}

func (a *authenticator) note(format string, args ...any) {
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

func (a *authenticator) done() {
	for _, f := range a.close {
		f()
	}
}

// next is the gossh.ClientAuthCallback: it picks what to try next.
func (a *authenticator) next(c *gossh.ClientAuthContext) (gossh.AuthMethod, error) {
	if err := a.ctx.Err(); err != nil {
		return nil, err
	}
	if a.refused != nil {
		return nil, a.refused
	}
	allowed := func(m string) bool { return slices.Contains(c.AllowedMethods, m) }
	tries := func(m string) int {
		n := 0
		for _, t := range c.TriedMethods {
			if t == m {
				n++
			}
		}
		return n
	}
	if allowed("publickey") && a.t.host.Pubkey {
		if !a.loaded {
			a.loaded = true
			if a.load(); a.refused != nil {
				return nil, a.refused
			}
		}
		if len(a.offers) > 0 {
			o := a.offers[0]
			a.offers = a.offers[1:]
			a.note("%s %s", o.name, gossh.FingerprintSHA256(plainKey(o.signer.PublicKey())))
			return gossh.PublicKeys(o.signer), nil
		}
	}
	if allowed("keyboard-interactive") && a.t.host.Interactive && a.mayAsk("code") &&
		tries("keyboard-interactive") < promptTries {
		return gossh.KeyboardInteractive(a.questions), nil
	}
	if allowed("password") && a.t.host.Password && a.mayAsk("password") && tries("password") < promptTries {
		return gossh.PasswordCallback(a.password), nil
	}
	return nil, a.failed(c.AllowedMethods, len(c.PartialSuccessMethods) > 0)
}

// mayAsk reports whether a person can be asked, and takes note if one would be needed.
func (a *authenticator) mayAsk(what string) bool {
	if a.t.host.BatchMode {
		return false
	}
	if someoneThere(a.ctx) {
		return true
	}
	a.missing = append(a.missing, wants(what, "%s asks for a %s", a.t.where(), what))
	return false
}

// failed is the error when nothing is left to try; half means that a first factor was taken.
func (a *authenticator) failed(methods []string, half bool) error {
	for _, m := range a.missing {
		// A missing passphrase is the likelier way in than the password that most servers offer.
		if m.what == "passphrase" || m.what == "touch" {
			return m
		}
	}
	if len(a.missing) > 0 && (half || len(a.notes) == 0) {
		return a.missing[0]
	}
	tried := "no key was found"
	if len(a.notes) > 0 {
		tried = "tried: " + strings.Join(a.notes, "; ")
	}
	return api.Errorf(api.CodeAuth, "signing in to %s was refused: the server takes %s; %s", a.t.where(),
		strings.Join(methods, ", "), tried).
		WithHint("check the user name; add your public key to ~%s/.ssh/authorized_keys on the machine, or name the right key by IdentityFile in ~/.ssh/config", a.t.host.User)
}

func (a *authenticator) questions(name, instruction string, questions []string, echos []bool) ([]string, error) {
	answers := make([]string, len(questions))
	for i, q := range questions {
		kind := "secret"
		if echos[i] {
			kind = "text"
		}
		var err error
		if answers[i], err = a.ask(kind, q, strings.TrimSpace(name+"\n"+instruction)); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

func (a *authenticator) password() (string, error) {
	return a.ask("secret", "Password of "+a.t.host.User, "")
}

// unanswered takes note that a question was not answered; what says of which kind it was.
func (a *authenticator) unanswered(what string, err error) {
	a.refused = err
	if errors.Is(err, backend.ErrNoAnswer) {
		a.refused = &needsPerson{what, api.AsError(err)}
	}
}

func (a *authenticator) ask(kind, title, text string) (string, error) {
	a.asked = true
	resume := a.pause()
	defer resume()
	title = strings.TrimRight(oneLine(title), ": ")
	answer, err := ask(a.ctx, api.Question{Kind: kind, Title: title + " at " + a.t.host.Addr(),
		Text: strings.TrimSpace(text + "\nTo sign in to " + a.t.where() + ".")})
	if err != nil {
		a.unanswered("code", err)
	}
	return answer, err
}
