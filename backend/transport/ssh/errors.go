package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// needsPerson means that a connection comes back only with a person's help.
type needsPerson struct {
	what string // passphrase, password, code, touch, host key
	err  *api.Error
}

func (e *needsPerson) Error() string { return e.err.Error() }
func (e *needsPerson) Unwrap() error { return e.err }

// wants makes the error for a question that finds nobody.
func wants(what, format string, a ...any) *needsPerson {
	e := api.Errorf(api.CodeNoAnswer, format+": nobody is there to answer", a...)
	return &needsPerson{what, e.WithHint("run the command on a terminal: berth asks there")}
}

// connectError says what connecting to where failed with, for people.
func connectError(ctx context.Context, t *target, limit time.Duration, err error) error {
	// The handshake puts its own words around what was said here.
	var person *needsPerson
	var said *api.Error
	switch {
	case errors.As(err, &person):
		return person
	case errors.As(err, &said):
		return said
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	where := t.where()
	if t.ssh.Made {
		return madeError(t, limit, err)
	}
	var dns *net.DNSError
	var neg *gossh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &dns):
		return api.Errorf(api.CodeUnreachable, "%s can't be reached: the name %s is not known (%w)", where, dns.Name, err).
			WithHint("check the name, your network, or HostName in ~/.ssh/config")
	case errors.Is(err, syscall.ECONNREFUSED):
		return api.Errorf(api.CodeUnreachable, "%s can't be reached: nothing listens on port %d there (%w)", where,
			t.host.Port, err).
			WithHint("check the port, and that the machine and its sshd run")
	case errors.Is(err, errTooSlow), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT),
		errors.Is(err, context.DeadlineExceeded):
		return api.Errorf(api.CodeUnreachable, "%s can't be reached: no answer within %v", where, limit).
			WithHint("check the address, and whether a firewall or a VPN stands between; ConnectTimeout in ~/.ssh/config sets the limit")
	case errors.As(err, &neg):
		return api.Errorf(api.CodeUnreachable, "%s and Berth have no %s in common (%w)", where, neg.What, err).
			WithHint("allow what the server has in ~/.ssh/config (Ciphers, MACs, KexAlgorithms, HostKeyAlgorithms: +NAME), or use the user's own ssh for this host: transport = \"openssh\"")
	case strings.Contains(err.Error(), "Too many authentication failures"):
		return api.Errorf(api.CodeAuth, "signing in to %s was refused: too many keys were offered (%w)", where, err).
			WithHint("name the right key by IdentityFile in ~/.ssh/config and set IdentitiesOnly yes there")
	case errors.Is(err, errBusy):
		return api.Errorf(api.CodeUnreachable, "%s closed the connection before it showed its host key, %d times in a row (%w)",
			where, busyTries+1, err).
			WithHint("the server may be starting, overloaded (MaxStartups) or blocking this address; its log says more")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return api.Errorf(api.CodeUnreachable, "%s closed the connection before anyone was signed in (%w)", where, err).
			WithHint("the server may be starting, overloaded (MaxStartups) or blocking this address; its log says more")
	}
	return api.Errorf(api.CodeUnreachable, "%s can't be reached: %w", where, err).
		WithHint("try: ssh %s", t.ssh.Host)
}

// saidLimit is how many bytes of what a server says are shown.
const saidLimit = 1000

// oneLine makes what a server says fit for a message.
func oneLine(s string) string { return plaintext.Short(s, saidLimit) }

// madeError explains why a machine that Berth made can't be reached: there is no configuration to look at.
func madeError(t *target, limit time.Duration, err error) error {
	why := err.Error()
	if errors.Is(err, errTooSlow) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) ||
		errors.Is(err, context.DeadlineExceeded) {
		why = "no answer within " + limit.String()
	}
	return api.Errorf(api.CodeUnreachable, "%s can't be reached: %s", t.where(), why).
		WithHint("it may still be starting; its console tells: berth show --console %s", orInstance(t.ssh.PinnedBy))
}
