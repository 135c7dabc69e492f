package forward

import (
	"strconv"
	"strings"

	"berth/backend/api"
)

// Target is what a forward leads to on the instance: a TCP port, or a unix socket.
type Target struct {
	Port   int
	Socket string // an absolute path, or one below "~/"; empty: Port
}

// String is the target as it is said.
func (t Target) String() string {
	if t.Socket != "" {
		return t.Socket
	}
	return strconv.Itoa(t.Port)
}

// Request asks an agent for a connection to it.
func (t Target) Request() api.ForwardRequest {
	if t.Socket != "" {
		return api.ForwardRequest{Socket: []byte(t.Socket)}
	}
	return api.ForwardRequest{Port: t.Port}
}

// Spec is one forward that is wanted.
type Spec struct {
	Local int // the port here; 0: any that is free
	Target
}

// maxSocket is the longest path of a unix socket.
const maxSocket = 107

// Parse reads [LOCAL:]PORT or [LOCAL:]/PATH/OF.SOCKET. Without LOCAL a port has the same number here, and a socket any
// that is free; a LOCAL of 0 is any that is free, too.
func Parse(arg string) (Spec, error) {
	local, remote, both := strings.Cut(arg, ":")
	if strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "~/") { // a path may have colons
		local, remote, both = "", arg, false
	}
	if !both && remote == "" {
		remote = local
	}
	var s Spec
	if strings.HasPrefix(remote, "/") || strings.HasPrefix(remote, "~/") {
		if len(remote) > maxSocket || strings.ContainsRune(remote, 0) || strings.HasSuffix(remote, "/") {
			return s, api.Errorf(api.CodeUsage, "%.40q: the path of a unix socket has at most %d bytes, and is no folder", remote,
				maxSocket)
		}
		s.Socket = remote
	} else {
		n, ok := port(remote)
		if !ok || n == 0 {
			return s, api.Errorf(api.CodeUsage, "%.60q is no [LOCAL:]PORT: a port of the instance is a number from 1 to 65535", arg).
				WithHint("berth forward NAME 8888, 9999:8888, or 9999:/run/app.sock for a unix socket there")
		}
		s.Port, s.Local = n, n
	}
	if both {
		n, ok := port(local)
		if !ok {
			return s, api.Errorf(api.CodeUsage, "%.60q: %q is no port of this computer: a number from 1 to 65535, or 0 for any",
				arg, local)
		}
		s.Local = n
	}
	return s, nil
}

// port reads the number of a port, or 0.
func port(s string) (int, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil
}

// String writes it so that Parse reads the same.
func (s Spec) String() string {
	if s.Socket == "" && s.Local == s.Port {
		return s.Target.String()
	}
	return strconv.Itoa(s.Local) + ":" + s.Target.String()
}
