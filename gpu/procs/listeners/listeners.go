package listeners

import (
	"cmp"
	"net/netip"
	"slices"
)

// Listener is a port or a unix socket that processes of this host wait for connections on.
type Listener struct {
	Port      int          // of TCP; 0: it is a unix socket
	Addresses []netip.Addr // at which the port can be reached: IPv4 before IPv6
	Path      string       // of a unix socket
	// UID is the user whose the socket is; -1: the system does not say.
	UID int
	// PIDs are the processes that have it open, in order; none where they can't be seen: they are another user's.
	PIDs []int
}

// socket is one line of the kernel's tables.
type socket struct {
	inode uint64
	uid   int
	port  int
	addr  netip.Addr
	path  string
}

// merged puts the sockets of one port that the same processes hold (IPv4 and IPv6, several addresses) into one
// Listener, in the order of ports; unix sockets come last, in the order of their paths.
func merged(sockets []socket, holders map[uint64][]int) []Listener {
	type who struct {
		port, uid, pid int
		path           string
	}
	at := map[who]int{}
	var out []Listener
	for _, s := range sockets {
		k := who{port: s.port, uid: s.uid, path: s.path}
		pids := holders[s.inode]
		if len(pids) > 0 {
			k.pid = pids[0]
		}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, Listener{Port: s.port, Path: s.path, UID: s.uid})
		}
		l := &out[i]
		if s.port != 0 && !slices.Contains(l.Addresses, s.addr) {
			l.Addresses = append(l.Addresses, s.addr)
		}
		for _, pid := range pids {
			if !slices.Contains(l.PIDs, pid) {
				l.PIDs = append(l.PIDs, pid)
			}
		}
	}
	for i := range out {
		slices.Sort(out[i].PIDs)
		slices.SortFunc(out[i].Addresses, netip.Addr.Compare)
	}
	slices.SortStableFunc(out, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(b2i(a.Port == 0), b2i(b.Port == 0)), a.Port-b.Port, cmp.Compare(a.Path, b.Path),
			cmp.Compare(first(a.PIDs), first(b.PIDs)))
	})
	return out
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func first(pids []int) int {
	if len(pids) == 0 {
		return 1 << 40
	}
	return pids[0]
}

// On returns the listeners of a list that hold a port, at any address.
func On(list []Listener, port int) []Listener {
	var out []Listener
	for _, l := range list {
		if l.Port == port {
			out = append(out, l)
		}
	}
	return out
}
