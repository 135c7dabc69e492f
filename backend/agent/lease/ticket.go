package lease

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/base/plaintext"
	"berth/gpu/procs/proc"
)

// Ticket says what a user's queue waits for, and what they used. Its file is that user's, whose UID its name has: what
// another one put there counts for nothing. Its own user can write what they like.
type Ticket struct {
	Version int    `json:"version"`
	UID     int    `json:"uid"`
	User    string `json:"user,omitzero"` // the login name, as its user says
	Boot    string `json:"boot_id"`
	// At is when it was written: in seconds of the clock that nobody sets, which all of this boot have in common.
	At     float64 `json:"at_seconds"`
	Waits  float64 `json:"waits_seconds"`       // for how long the first job had waited then
	Wants  []Want  `json:"wants"`               // what waits, the first of it first
	Used   float64 `json:"used_gpu_seconds"`    // until then; what is older counts less
	Holds  int     `json:"holds_gpus,omitzero"` // GPUs that were held then
	Starts int64   `json:"starts,omitzero"`     // changes with each start of a job with GPUs

	name string // of its file
}

// Want is jobs that are alike.
type Want struct {
	GPUs   int   `json:"gpus"`
	Memory int64 `json:"memory_bytes,omitzero"` // of each GPU, by one that shares it; 0: all
	Jobs   int   `json:"jobs"`
}

const (
	// ticketVersion is that of the format of Ticket.
	ticketVersion = 1
	// Fresh is for how long a ticket counts. Who still waits writes it anew before.
	Fresh = 10 * time.Second
	// mostWants, mostOf and mostUsed are what a ticket may say at the most.
	mostWants, mostOf, mostUsed = 16, 1024, 1e12
	// mostNames is how many files of the folder are looked at, and mostTickets how many of one user are read.
	mostNames, mostTickets = 4096, 16
)

// ticketName is a ticket's name: its user's UID, and a number by chance, so that nobody has taken the name before.
var ticketName = regexp.MustCompile(`^ticket-(0|[1-9][0-9]{0,9})-[0-9a-f]{16}$`)

// comingName is the name of a ticket that is being written, which takes a moment.
var comingName = regexp.MustCompile(`^coming-[0-9a-f]{16}$`)

const comingFor = time.Minute

// Clock is the time of tickets, in seconds.
func Clock() float64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // it never fails: the clock is there everywhere
	}
	return float64(ts.Sec) + float64(ts.Nsec)/1e9
}

// Post is where one agent puts its ticket. It is used by one goroutine.
type Post struct {
	folder *Folder
	name   string // "": none is there
}

// Post makes a place for a ticket. Those that agents of the same user left there which are no more are removed.
func (f *Folder) Post() *Post {
	for _, name := range f.names(ticketName) {
		if t, err := f.readTicket(name); err == nil && t.UID == os.Getuid() && !t.fresh(Clock()) {
			_ = os.Remove(filepath.Join(f.dir, name))
		}
	}
	for _, name := range f.names(comingName) { // who wrote it was ended
		path := filepath.Join(f.dir, name)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err == nil && int(st.Uid) == os.Getuid() &&
			time.Since(time.Unix(st.Mtim.Unix())) > comingFor {
			_ = os.Remove(path)
		}
	}
	return &Post{folder: f}
}

// Put puts a ticket there instead of the last one, at once as a whole.
func (p *Post) Put(t Ticket) error {
	t.Version, t.UID, t.Boot, t.At = ticketVersion, os.Getuid(), proc.BootID(), Clock()
	t.User = short(t.User)
	t.Wants = t.Wants[:min(len(t.Wants), mostWants)]
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if p.name == "" {
		p.name = "ticket-" + strconv.Itoa(t.UID) + "-" + chance()
	}
	if err := p.folder.put(p.name, append(b, '\n')); err != nil {
		p.name = "" // whoever has that name now, another one is free
		return fmt.Errorf("other users of this host don't see what waits for its GPUs: %w", err)
	}
	return nil
}

// Take removes the ticket.
func (p *Post) Take() {
	if p.name != "" {
		_ = os.Remove(filepath.Join(p.folder.dir, p.name)) // else it counts no more after a while
		p.name = ""
	}
}

// Mine reports whether a ticket is the one that was put there.
func (p *Post) Mine(t *Ticket) bool { return p.name != "" && t.name == p.name }

func chance() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// put makes a file, or replaces one of this user.
func (f *Folder) put(name string, b []byte) error {
	coming := filepath.Join(f.dir, "coming-"+chance())
	file, err := os.OpenFile(coming, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Chmod(0o644) // the umask counts not
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(coming, filepath.Join(f.dir, name))
	}
	if err != nil {
		_ = os.Remove(coming)
	}
	return err
}

// Tickets are those that count now, by their names.
func (f *Folder) Tickets() (out []Ticket) {
	of := map[int]int{}
	for _, name := range f.names(ticketName) {
		t, err := f.readTicket(name)
		if err != nil || !t.fresh(Clock()) || of[t.UID] == mostTickets {
			continue
		}
		of[t.UID]++
		out = append(out, t)
	}
	return out
}

// names are those of the folder's files that a pattern has.
func (f *Folder) names(of *regexp.Regexp) []string {
	dir, err := os.Open(f.dir)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(mostNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !of.MatchString(n) })
	slices.Sort(names)
	return names
}

// readTicket reads a ticket that is its user's own.
func (f *Folder) readTicket(name string) (t Ticket, err error) {
	m := ticketName.FindStringSubmatch(name)
	if m == nil {
		return t, fmt.Errorf("%.90q is no ticket's name", name)
	}
	uid, err := strconv.ParseUint(m[1], 10, 32)
	if err != nil {
		return t, err
	}
	path := filepath.Join(f.dir, name)
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // a pipe does not hold it up
	if err != nil {
		return t, err
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return t, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	switch {
	case uint64(st.Uid) != uid:
		return t, fmt.Errorf("%s is of the user %d", path, st.Uid)
	case st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 || st.Mode&0o022 != 0:
		return t, fmt.Errorf("%s is no plain file with one name that its user alone writes to", path)
	}
	b, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return t, err
	}
	if t, err = parseTicket(b); err == nil && uint64(t.UID) != uid {
		err = fmt.Errorf("%s says that it is of the user %d", path, t.UID)
	}
	t.name = name
	return t, err
}

// parseTicket reads a ticket's contents, which its user may have made up.
func parseTicket(b []byte) (t Ticket, err error) {
	if len(b) > most {
		return t, errors.New("it is too long")
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&t); err != nil {
		return Ticket{}, err
	}
	within := func(x, most float64) bool { return x >= 0 && x <= most && !math.IsNaN(x) }
	switch {
	case t.Version != ticketVersion:
		return Ticket{}, fmt.Errorf("it is of version %d, and this agent knows %d", t.Version, ticketVersion)
	case t.UID < 0 || !within(t.At, mostUsed) || !within(t.Waits, mostUsed) || !within(t.Used, mostUsed) ||
		t.Holds < 0 || t.Holds > mostOf || len(t.Wants) > mostWants:
		return Ticket{}, errors.New("it says what can't be")
	}
	for _, w := range t.Wants {
		if w.GPUs < 1 || w.GPUs > mostOf || w.Memory < 0 || w.Jobs < 1 {
			return Ticket{}, errors.New("it wants what can't be")
		}
	}
	t.User = plaintext.Short(short(t.User), 40)
	return t, nil
}

// Same reports whether two are one ticket, which was not written anew.
func (t Ticket) Same(o Ticket) bool { return t.name == o.name && t.At == o.At }

// fresh reports whether a ticket counts at a time of the clock: it was written not long ago, since the last boot, and
// not in the future.
func (t *Ticket) fresh(now float64) bool {
	return t.Boot == proc.BootID() && t.At <= now && now-t.At <= Fresh.Seconds()
}
