package ssh

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/knownhosts"
	"berth/backend/transport/sshconfig"
)

// hostKeys judges the host key of one connection.
type hostKeys struct {
	ctx   context.Context
	t     *target
	db    *knownhosts.DB
	only  []string // if not nil: the algorithms to offer
	pause func() (resume func())
	asked bool   // a person was asked, so that the server may have lost its patience
	seen  string // fingerprint of the key that was shown
	wrong bool   // the key was not a pinned one
	// unkept is why a key that was accepted by its pin could not be added to the known hosts.
	unkept error
	// command is why the KnownHostsCommand failed: the connection is not made then.
	command error
}

func newHostKeys(ctx context.Context, t *target, pause func() func()) *hostKeys {
	files := append(slices.Clone(t.host.UserKnown), t.host.GlobalKnown...)
	k := &hostKeys{ctx: ctx, t: t, db: knownhosts.Load(files...), pause: pause}
	k.command = k.askCommand(k.db, sshconfig.AskedKey{Why: sshconfig.ForOrder})
	return k
}

// askCommand adds to db what the KnownHostsCommand prints, if there is one.
func (k *hostKeys) askCommand(db *knownhosts.DB, asked sshconfig.AskedKey) error {
	if k.t.host.KnownHostsCommand == "" {
		return nil
	}
	asked.Host = k.t.name().String()
	out, err := k.t.host.KnownHosts(k.ctx, backend.CallerFrom(k.ctx).Env, asked)
	if err != nil {
		return api.Errorf(api.CodeRefused, "the host key of %s can't be judged: %w", k.t.where(), err).
			WithHint("mend KnownHostsCommand in ~/.ssh/config")
	}
	db.Read("the output of KnownHostsCommand", bytes.NewReader(out))
	return nil
}

func (k *hostKeys) algorithms() []string {
	if k.only != nil {
		return k.only
	}
	return k.db.Algorithms(k.t.name())
}

// check is the gossh.HostKeyCallback.
func (k *hostKeys) check(_ string, _ net.Addr, key gossh.PublicKey) error {
	plain := key
	if c, ok := key.(*gossh.Certificate); ok {
		plain = c.Key
	}
	k.seen = gossh.FingerprintSHA256(plain)
	known := k.db.Files()
	err := k.askCommand(known, sshconfig.AskedKey{Why: sshconfig.ForHostname, Type: key.Type(), Fingerprint: k.seen,
		Base64: base64.StdEncoding.EncodeToString(key.Marshal())})
	if err != nil {
		return err
	}
	err = known.Check(k.t.name(), key)
	var unknown *knownhosts.UnknownError
	var changed *knownhosts.ChangedError
	var revoked *knownhosts.RevokedError
	switch pinned := k.pinned(); {
	case errors.As(err, &revoked):
		return api.Errorf(api.CodeRefused, "the host key %s of %s was revoked: line %d of %s", k.seen, k.t.where(),
			revoked.Line.Number, revoked.Line.File).
			WithHint("ask whoever runs the machine for its new key")
	case pinned:
		// As an answer of yes does: the user's own ssh knows it too, and so does the next adoption.
		if errors.As(err, &unknown) {
			k.unkept = k.add(plain)
		}
		return nil
	case len(k.t.pins) > 0 && !k.t.jump:
		k.wrong = true
		return k.notPinned(plain)
	case err == nil:
		return nil
	case len(k.t.pins) > 0 && errors.As(err, &unknown):
		k.wrong = true
		return err
	case errors.As(err, &changed):
		old := changed.Want[0]
		return api.Errorf(api.CodeRefused,
			"the host key of %s has changed: it is now %s (%s), but %s stands in line %d of %s", k.t.where(), k.seen,
			plain.Type(), gossh.FingerprintSHA256(old.Key), old.Number, old.File).
			WithHint("somebody may stand in between. %s", k.mend(old.File))
	case errors.As(err, &unknown):
		return k.unknown(plain, unknown)
	}
	return err
}

// mend says how a key that is known no longer counts.
func (k *hostKeys) mend(file string) string {
	if !filepath.IsAbs(file) { // a command printed it
		return "If the machine was really reinstalled, ask whoever runs it why its old key still comes from " + file
	}
	return fmt.Sprintf("If the machine was really reinstalled, remove the old key: ssh-keygen -R '%s' -f '%s'", k.t.name(),
		file)
}

// pinned reports whether the key that was shown is one of the pinned ones.
func (k *hostKeys) pinned() bool {
	return slices.ContainsFunc(k.t.pins, func(pin string) bool { return samePrint(pin, k.seen) })
}

// notPinned is the error for a key that is none of the pinned ones.
func (k *hostKeys) notPinned(key gossh.PublicKey) error {
	pins := strings.Join(k.t.pins, ",")
	by := k.t.ssh.PinnedBy
	if k.t.ssh.Made {
		return api.Errorf(api.CodeRefused, "%s shows the host key %s (%s), not the one that Berth gave the machine of %s, %s",
			k.t.where(), k.seen, key.Type(), orInstance(by), pins).
			WithHint("another machine may have its address now, or somebody stands in between: berth show --console %s",
				orInstance(by))
	}
	if by == "" {
		return api.Errorf(api.CodeRefused, "the host key of %s is %s (%s), not the one that was given, %s", k.t.where(),
			k.seen, key.Type(), pins).
			WithHint("somebody may stand in between; compare it with the machine's own, and give that: --host-key %s", k.flag())
	}
	return api.Errorf(api.CodeRefused,
		"the host key of %s has changed: it is now %s (%s), but %s was pinned when %s was adopted", k.t.where(), k.seen,
		key.Type(), pins, by).
		WithHint("somebody may stand in between. If the machine was really reinstalled: berth rm %s, then adopt it again with --host-key %s", by, k.flag())
}

func orInstance(name string) string {
	if name == "" {
		return "the instance"
	}
	return name
}

// named is where the key was shown, in words that tell jump hosts from machines.
func (k *hostKeys) named() string {
	if k.t.jump {
		return "the jump host " + k.t.where()
	}
	return k.t.where()
}

// flag is the value of --host-key that accepts the key that was shown: with a jump host, those of all
// hosts on the way.
func (k *hostKeys) flag() string {
	var all []string
	if k.t.jump || k.t.via != nil && len(splitPins(k.t.ssh.HostKey)) > 0 {
		all = splitPins(k.t.ssh.HostKey)
	}
	return strings.Join(append(all, k.seen), ",")
}

// splitPins reads a list of fingerprints.
func splitPins(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// samePrint compares SHA256 fingerprints, with or without the prefix and padding.
func samePrint(a, b string) bool {
	norm := func(s string) string {
		return strings.TrimRight(strings.TrimPrefix(strings.TrimSpace(s), "SHA256:"), "=")
	}
	return norm(a) != "" && norm(a) == norm(b)
}

func (k *hostKeys) unknown(key gossh.PublicKey, e *knownhosts.UnknownError) error {
	print := k.seen
	switch k.t.host.Strict {
	case "yes":
		if k.t.ssh.Made {
			return api.Errorf(api.CodeRefused, "the host key of %s is not known: Berth has lost what it gave the machine",
				k.t.where())
		}
		return api.Errorf(api.CodeRefused, "the host key %s of %s is not known, and StrictHostKeyChecking is yes", print,
			k.t.where()).
			WithHint("add the key to %s, or pin it: --host-key %s", first(k.t.host.UserKnown), print)
	case "accept-new", "no":
		if len(e.Others) == 0 {
			return k.add(key)
		}
	}
	text := fmt.Sprintf("%s shows a %s host key that is not known yet:\n%s\nCompare it with what the machine's owner says, or with ssh-keygen -lf on its console.",
		k.named(), kind(key), print)
	if len(e.Others) > 0 {
		text += fmt.Sprintf("\nWARNING: another key of this machine, of type %s, stands in line %d of %s, and the machine no longer shows it.",
			kind(e.Others[0].Key), e.Others[0].Number, e.Others[0].File)
	}
	k.asked = true
	resume := k.pause()
	title := "Trust the host key of " + k.t.host.Addr() + "?"
	answer, err := ask(k.ctx, api.Question{Kind: "confirm", Title: title, Text: text})
	resume()
	if err != nil {
		if errors.Is(err, backend.ErrNoAnswer) {
			why := "nobody is there to confirm it"
			if someoneThere(k.ctx) {
				why = "it was not confirmed: " + strings.TrimPrefix(api.AsError(err).Message, title+": ")
			}
			return &needsPerson{"host key", api.Errorf(api.CodeNoAnswer,
				"the host key %s (%s) of %s is not known, and %s", print, kind(key), k.named(), why).
				WithHint("compare it with the machine's own and give it: --host-key %s", k.flag())}
		}
		return err
	}
	if !yes(answer) {
		return api.Errorf(api.CodeRefused, "the host key %s of %s was not accepted", print, k.t.where())
	}
	return k.add(key)
}

// add stores an accepted key.
func (k *hostKeys) add(key gossh.PublicKey) error {
	file := first(k.t.host.UserKnown)
	if file == "" || file == "/dev/null" {
		return nil
	}
	if err := knownhosts.Add(file, k.t.name(), key, k.t.host.HashKnown); err != nil {
		return api.Errorf(api.CodeFailed, "the host key of %s was accepted but could not be kept: %w", k.t.where(), err)
	}
	return nil
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

func yes(answer string) bool {
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes", "true":
		return true
	}
	return false
}

// kind is the type of a key as ssh-keygen -l names it.
func kind(k gossh.PublicKey) string {
	switch t := k.Type(); {
	case t == gossh.KeyAlgoED25519:
		return "ED25519"
	case t == gossh.KeyAlgoRSA:
		return "RSA"
	case strings.HasPrefix(t, "ecdsa-"):
		return "ECDSA"
	default:
		return t
	}
}
