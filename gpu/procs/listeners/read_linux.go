package listeners

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/prometheus/procfs"

	"berth/gpu/procs/proc"
)

const (
	tcpListen = 0x0a    // the state of a TCP socket that waits for connections
	accepts   = 1 << 16 // the flag of such a unix socket
)

// Read lists what is listened on. dir is where the processes are found; "": proc.Root. An error beside a list says what
// the list lacks.
func Read(dir string) ([]Listener, error) {
	if dir == "" {
		dir = proc.Root
	}
	tables, err := procfs.NewFS(dir)
	if err != nil {
		return nil, fmt.Errorf("reading what is listened on: %w", err)
	}
	sockets, err := ports(tables)
	if err != nil {
		return nil, err
	}
	files, incomplete := unixSockets(tables)
	sockets = append(sockets, files...)
	wanted := make(map[uint64][]int, len(sockets))
	for _, s := range sockets {
		wanted[s.inode] = nil
	}
	if err := findHolders(dir, wanted); err != nil {
		incomplete = errors.Join(incomplete, err)
	}
	return merged(sockets, wanted), incomplete
}

// ports are the TCP sockets that wait for connections.
func ports(tables procfs.FS) ([]socket, error) {
	v4, err := tables.NetTCP()
	if err != nil {
		return nil, fmt.Errorf("reading the TCP ports that are listened on: %w", err)
	}
	v6, err := tables.NetTCP6()
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6 has no such table
		return nil, fmt.Errorf("reading the TCP ports that are listened on (IPv6): %w", err)
	}
	var out []socket
	for _, table := range []procfs.NetTCP{v4, v6} {
		for _, l := range table {
			if l.St != tcpListen {
				continue
			}
			addr, ok := netip.AddrFromSlice(l.LocalAddr)
			if !ok {
				continue
			}
			out = append(out, socket{inode: l.Inode, uid: int(l.UID), port: int(l.LocalPort), addr: addr.Unmap()})
		}
	}
	return out, nil
}

// unixSockets are those in the file system that wait for connections and can be found there by their paths: not those
// of containers, nor any with a blank in its path, which the library cuts off. Any user may make one of a name that
// can't be read: it must not hide the ports.
func unixSockets(tables procfs.FS) ([]socket, error) {
	table, err := tables.NetUNIX()
	if err != nil {
		return nil, fmt.Errorf("the unix sockets can't be read: %w", err)
	}
	var out []socket
	for _, l := range table.Rows {
		if l.Flags&accepts == 0 || !filepath.IsAbs(l.Path) {
			continue
		}
		fi, err := os.Lstat(l.Path)
		if err != nil || fi.Mode()&fs.ModeSocket == 0 {
			continue
		}
		s := socket{inode: l.Inode, uid: -1, path: l.Path}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			s.uid = int(st.Uid)
		}
		out = append(out, s)
	}
	return out, nil
}

// findHolders notes which processes have the sockets open.
func findHolders(dir string, sockets map[uint64][]int) error {
	r := proc.NewReader(dir)
	var pids []int
	if err := r.All(func(st proc.Stat) {
		if !st.Kernel {
			pids = append(pids, st.PID)
		}
	}); err != nil {
		return fmt.Errorf("the processes can't be read: %w", err)
	}
	slices.Sort(pids)
	for _, pid := range pids {
		r.Sockets(pid, func(inode uint64) {
			if held, ok := sockets[inode]; ok && !slices.Contains(held, pid) {
				sockets[inode] = append(held, pid)
			}
		})
	}
	return nil
}
