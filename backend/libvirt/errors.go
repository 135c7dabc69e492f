package libvirt

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	golibvirt "github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/api"
)

// hasCode reports whether err is libvirt's with one of these codes.
func hasCode(err error, codes ...golibvirt.ErrorNumber) bool {
	var e golibvirt.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.Code == uint32(c) {
			return true
		}
	}
	return false
}

// isGone reports whether err says that something is not there: a machine, or a part of libvirt's. Only
// the first is ErrNotFound to others.
func isGone(err error) bool {
	return errors.Is(err, backend.ErrNotFound) || hasCode(err, golibvirt.ErrNoDomain, golibvirt.ErrNoStoragePool,
		golibvirt.ErrNoStorageVol, golibvirt.ErrNoNetwork,
		golibvirt.ErrNoNodeDevice, golibvirt.ErrNoDomainSnapshot)
}

// says reports whether libvirt's words contain one of the phrases.
func says(err error, phrases ...string) bool {
	var e golibvirt.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, p := range phrases {
		if strings.Contains(e.Message, p) {
			return true
		}
	}
	return false
}

// lost reports whether err means that the connection is gone.
func lost(err error) bool {
	var ne net.Error
	return errors.Is(err, golibvirt.ErrInterrupted) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) || errors.As(err, &ne)
}

// explain turns what a call returned into an error that says what was tried and what libvirt said. An
// error of libvirt stays reachable by errors.As.
func (b *Backend) explain(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	var known *api.Error
	if errors.As(err, &known) {
		return err
	}
	on := b.cfg.uri.text
	if errors.Is(err, golibvirt.ErrUnsupported) {
		return api.Errorf(api.CodeUnsupported, "%s: the libvirtd of %s does not know this call: %w", what, on, err).
			WithHint("a newer libvirt is needed there")
	}
	if lost(err) {
		return api.Errorf(api.CodeUnreachable, "%s: the connection to libvirtd (%s) was lost: %w", what, on, err).
			WithHint("see whether libvirtd runs there; the next call connects again")
	}
	var e golibvirt.Error
	if !errors.As(err, &e) {
		return api.Errorf(api.CodeFailed, "%s on %s: %w", what, on, err)
	}
	out := api.Errorf(codeOf(e), "%s: libvirt says: %w", what, trimmed{err})
	switch {
	case out.Code == api.CodeCapacity && strings.Contains(e.Message, "space"):
		return out.WithHint("free space in the pool %s, or choose another with backend.libvirt.pool", b.cfg.pool)
	case out.Code == api.CodeCapacity:
		return out.WithHint("stop another machine on that host, or choose a smaller size")
	case out.Code == api.CodeAuth:
		return out.WithHint("add yourself to the group libvirt on libvirtd's host and log in again")
	case isAbandoned(err):
		return out.WithHint("libvirtd ended in the middle of a change of this machine, and holds it locked: on its host, end " +
			"libvirtd, remove the machine's file in libvirt/qemu/run if no qemu of it runs, and start libvirtd again")
	case hasCode(err, golibvirt.ErrOperationTimeout):
		return out.WithHint("another change of this machine is under way in libvirt; try again")
	}
	return out
}

// isAbandoned reports that a change was refused for a lock that no call holds: libvirtd ended in the middle of an
// earlier one. libvirt names the call that holds a lock.
func isAbandoned(err error) bool {
	return hasCode(err, golibvirt.ErrOperationTimeout) && !says(err, "held by")
}

// codeOf classes an error of libvirt.
func codeOf(e golibvirt.Error) api.Code {
	switch golibvirt.ErrorNumber(e.Code) {
	case golibvirt.ErrNoDomain, golibvirt.ErrNoDomainSnapshot:
		return api.CodeNotFound
	case golibvirt.ErrAuthFailed, golibvirt.ErrAuthCancelled, golibvirt.ErrAuthUnavailable, golibvirt.ErrAccessDenied,
		golibvirt.ErrOperationDenied:
		return api.CodeAuth
	case golibvirt.ErrOperationInvalid, golibvirt.ErrDomExist, golibvirt.ErrStorageVolExist, golibvirt.ErrNetworkExist,
		golibvirt.ErrResourceBusy, golibvirt.ErrOperationTimeout:
		return api.CodeConflict
	case golibvirt.ErrNoSupport, golibvirt.ErrConfigUnsupported, golibvirt.ErrOperationUnsupported,
		golibvirt.ErrArgumentUnsupported:
		return api.CodeUnsupported
	case golibvirt.ErrNoMemory:
		return api.CodeCapacity
	}
	for _, p := range []string{"No space left on device", "Cannot allocate memory", "Disk quota exceeded"} {
		if strings.Contains(e.Message, p) {
			return api.CodeCapacity
		}
	}
	return api.CodeFailed
}

// trimmed is an error without the line ends that libvirt passes on from qemu.
type trimmed struct{ err error }

func (t trimmed) Error() string { return strings.TrimSpace(t.err.Error()) }

func (t trimmed) Unwrap() error { return t.err }
