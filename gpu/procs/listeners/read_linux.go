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
	"time"

	"github.com/prometheus/procfs"

	"berth/gpu/procs/proc"
)

const (
	tcpListen = 0x0a    // the state of a TCP socket that waits for connections
	accepts   = 1 << 16 // the flag of such a unix socket
)

// Read lists what is listened on, once.
func Read() ([]Listener, error) { return NewReader("").Read() }

// again is how long after all processes were looked at they are looked at again, though nothing new is listened on: a
// socket may have got more holders.
const again = 30 * time.Second

// Reader lists what is listened on again and again. It belongs to one goroutine.
type Reader struct {
	dir     string
	holders map[uint64][]int // by inode, as they were last; none: they can't be seen
	at      time.Time        // when all processes were looked at
	looked  int              // how often they were
}

// NewReader returns a Reader. dir is where the processes are found; "": proc.Root.
func NewReader(dir string) *Reader {
	if dir == "" {
		dir = proc.Root
	}
	return &Reader{dir: dir}
}

// Read lists what is listened on. An error beside a list says what the list lacks.
func (r *Reader) Read() ([]Listener, error) {
	tables, err := procfs.NewFS(r.dir)
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
	if !r.stillHeld(wanted) {
		for inode := range wanted {
			wanted[inode] = nil
		}
		pids, err := r.all()
		if err != nil {
			incomplete = errors.Join(incomplete, err)
		}
		r.find(pids, wanted)
		r.at = time.Now()
		r.looked++
	}
	r.holders = wanted
	return merged(sockets, wanted), incomplete
}

// stillHeld looks only at those that held the sockets last, and reports whether that is enough: on a host of thousands
// of processes, to look at all of them takes a good part of a second.
func (r *Reader) stillHeld(wanted map[uint64][]int) bool {
	if r.at.IsZero() || time.Since(r.at) > again {
		return false
	}
	var pids []int
	for inode := range wanted {
		held, known := r.holders[inode]
		if !known {
			return false // it is new
		}
		pids = append(pids, held...)
	}
	slices.Sort(pids)
	r.find(slices.Compact(pids), wanted)
	for inode, now := range wanted {
		if len(now) == 0 && len(r.holders[inode]) > 0 {
			return false // it has been handed on
		}
	}
	return true
}

// ports are the TCP sockets that wait for connections.
func ports(tables procfs.FS) ([]socket, error) {
	// The tables tell each user the same as netlink would, without another library.
	v4, err := tables.NetTCP() //lint:ignore SA1019 see above
	if err != nil {
		return nil, fmt.Errorf("reading the TCP ports that are listened on: %w", err)
	}
	v6, err := tables.NetTCP6()                        //lint:ignore SA1019 see above
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

// all lists the processes, in order.
func (r *Reader) all() ([]int, error) {
	var pids []int
	if err := proc.NewReader(r.dir).All(func(st proc.Stat) {
		if !st.Kernel {
			pids = append(pids, st.PID)
		}
	}); err != nil {
		return nil, fmt.Errorf("the processes can't be read: %w", err)
	}
	slices.Sort(pids)
	return pids, nil
}

// find notes which of the processes, which are in order, have the sockets open.
func (r *Reader) find(pids []int, sockets map[uint64][]int) {
	read := proc.NewReader(r.dir)
	for _, pid := range pids {
		read.Sockets(pid, func(inode uint64) {
			if held, ok := sockets[inode]; ok && !slices.Contains(held, pid) {
				sockets[inode] = append(held, pid)
			}
		})
	}
}
