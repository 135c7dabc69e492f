package forward

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/paths"
	"berth/gpu/procs/proc"
)

// Place is where forwards listen: at 127.0.0.1, or, with a folder, on unix sockets in it that nobody else can reach.
type Place struct {
	Dir string // 0700, made where it is not there; "": TCP
	// Login is how ssh reaches this host, "-p 2222 ada@10.0.0.7" say, for the line that leads to a socket.
	Login string
}

// Local is where a forward listens, and what is to be known about it.
type Local struct {
	Address string // "127.0.0.1:8888", or the path of a socket
	Port    int    // 0: it is a socket
	URL     string // "http://127.0.0.1:8888"; "" for a socket
	// SSH is the command that makes the socket a port of the computer that one has come from, and URL what it leads to
	// there.
	SSH string
	// Taken says why it is not the port that was wanted, and who holds that; "" where it is.
	Taken string
}

// PlaceHere says where forwards listen: on a bastion, which one has come to by SSH, on sockets in a folder below run,
// and else, or with tcp, at 127.0.0.1.
func PlaceHere(getenv func(string) string, run string, tcp bool) Place {
	if getenv("SSH_CONNECTION") == "" || tcp {
		return Place{}
	}
	return Place{Dir: filepath.Join(run, "forward"), Login: login(getenv)}
}

// login is how ssh reaches this host, as far as the session that one has come by tells: the address and the port that
// it was made to. A bastion behind another one has another name outside.
func login(getenv func(string) string) string {
	f := strings.Fields(getenv("SSH_CONNECTION")) // client, its port, this host, its port
	host, port := "THIS-HOST", "22"
	if len(f) == 4 {
		if a, err := netip.ParseAddr(f[2]); err == nil {
			host = a.Unmap().WithZone("").String()
		}
		if _, err := strconv.ParseUint(f[3], 10, 16); err == nil {
			port = f[3]
		}
	}
	if user := cmp.Or(getenv("USER"), getenv("LOGNAME")); user != "" && plain(user) {
		host = user + "@" + host
	}
	if port != "22" {
		return "-p " + port + " " + host
	}
	return host
}

// plain reports whether a name has nothing that a shell or ssh would take apart.
func plain(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// listenTCP listens at the wanted port of 127.0.0.1, or, where that can't be had, at a free one.
func listenTCP(o Options) (net.Listener, Local, error) {
	wanted, taken := o.Local, ""
	if wanted != 0 && wanted == o.Port && o.Network != "" && o.Network == proc.Network() {
		// It would lead to itself, and be in the way of what is to listen there.
		wanted = 0
		taken = fmt.Sprintf("%s shares the network of this computer: its port %d is port %d here, too", o.Instance, o.Port, o.Port)
	}
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(wanted)))
	if err != nil && wanted != 0 {
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			taken = fmt.Sprintf("port %d of this computer is held by %s", wanted, holder(wanted))
		case errors.Is(err, syscall.EACCES):
			taken = fmt.Sprintf("port %d of this computer is root's", wanted)
		default:
			return nil, Local{}, api.Errorf(api.CodeFailed, "listening at 127.0.0.1:%d: %w", wanted, err)
		}
		l, err = net.Listen("tcp4", "127.0.0.1:0")
	}
	if err != nil {
		return nil, Local{}, api.Errorf(api.CodeFailed, "listening at 127.0.0.1: %w", err)
	}
	at := l.Addr().String()
	local := Local{Address: at, Port: l.Addr().(*net.TCPAddr).Port, Taken: taken}
	if o.Socket == "" {
		local.URL = "http://" + at
	}
	return l, local, nil
}

// listenUnix listens on a socket whose name tells the forward, so that the ssh line of the next time is the same. Who
// has the lock beside it may take away what a killed one left.
func (p Place) listenUnix(instance string, s Spec) (net.Listener, Local, func(), error) {
	fail := func(err error) (net.Listener, Local, func(), error) {
		return nil, Local{}, nil, api.Errorf(api.CodeFailed, "listening on a socket in %s: %w", p.Dir, err)
	}
	if err := paths.PrivateDir(filepath.Dir(p.Dir)); err != nil {
		return fail(err)
	}
	if err := paths.PrivateDir(p.Dir); err != nil {
		return fail(err)
	}
	for n := 1; n < 100; n++ {
		path := filepath.Join(p.Dir, socketName(instance, s.Target, n))
		lock, err := flock.Open(path + ".lock")
		if errors.Is(err, flock.ErrHeld) {
			continue
		}
		if err != nil {
			return fail(err)
		}
		_ = os.Remove(path) // what is still there is in the way of Listen, which says so
		l, err := net.Listen("unix", path)
		if err == nil {
			err = os.Chmod(path, 0o600) // the folder keeps others out until then
		}
		if err != nil {
			_ = lock.Close()
			return fail(err)
		}
		port := cmp.Or(s.Local, s.Port, 8888) // of the other computer
		local := Local{Address: path, SSH: fmt.Sprintf("ssh -L %d:%s -N %s", port, path, p.Login)}
		if s.Socket == "" {
			local.URL = "http://127.0.0.1:" + strconv.Itoa(port)
		}
		return l, local, func() { _ = lock.Close() }, nil
	}
	return fail(errors.New("there are 99 for it already"))
}

// socketName is short, and has nothing that a shell or ssh's -L would take apart.
func socketName(instance string, t Target, n int) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, instance+"-"+strings.Trim(t.String(), "/~"))
	if len(name) > 36 {
		name = name[:12] + "-" + short(instance+"\x00"+t.String())
	}
	if n > 1 {
		name += "-" + strconv.Itoa(n)
	}
	return name + ".sock"
}
