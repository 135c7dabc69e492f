package lease

import (
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu/procs/proc"
)

func TestTickets(t *testing.T) {
	f := folder(t)
	p := f.Post()
	require.Empty(t, f.Tickets())
	for i := range 3 {
		require.NoError(t, p.Put(Ticket{User: "ann", Waits: float64(i), Used: 7.5, Wants: []Want{{GPUs: 2, Jobs: 9}}}))
	}
	all := f.Tickets()
	require.Len(t, all, 1, "the last one")
	require.True(t, p.Mine(&all[0]))
	require.Equal(t, []Want{{GPUs: 2, Jobs: 9}}, all[0].Wants)
	require.Equal(t, []float64{2, 7.5}, []float64{all[0].Waits, all[0].Used})
	require.Equal(t, os.Getuid(), all[0].UID)
	fi, err := os.Stat(filepath.Join(f.Dir(), all[0].name))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o644), fi.Mode())
	again := f.Tickets()
	require.True(t, all[0].Same(again[0]))
	require.NoError(t, p.Put(Ticket{}))
	require.False(t, all[0].Same(f.Tickets()[0]))
	other := f.Post()
	require.NoError(t, other.Put(Ticket{}))
	require.Len(t, f.Tickets(), 2, "of another queue of the same user")
	p.Take()
	p.Take()
	other.Take()
	names, err := os.ReadDir(f.Dir())
	require.NoError(t, err)
	require.Empty(t, names, "nothing is left")
	require.NoError(t, os.RemoveAll(f.Dir()))
	require.ErrorContains(t, p.Put(Ticket{}), "don't see what waits")
	require.Empty(t, f.Tickets())
}

// TestATicketOfOneWhoIsGone counts for a while only, and is removed by the next agent of its user.
func TestATicketOfOneWhoIsGone(t *testing.T) {
	f := folder(t)
	put := func(change func(*Ticket)) {
		t.Helper()
		x := Ticket{Version: ticketVersion, UID: os.Getuid(), Boot: proc.BootID(), At: Clock()}
		change(&x)
		b, err := json.Marshal(x)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(f.Dir(), "ticket-"+strconv.Itoa(x.UID)+"-0123456789abcdef"), b, 0o644))
	}
	put(func(*Ticket) {})
	require.Len(t, f.Tickets(), 1)
	require.Empty(t, f.Post().name)
	require.Len(t, f.Tickets(), 1, "it may be another queue's")
	for what, change := range map[string]func(*Ticket){
		"it is old":             func(x *Ticket) { x.At -= Fresh.Seconds() + 1 },
		"it is of another boot": func(x *Ticket) { x.Boot = "other" },
		"it is of the future":   func(x *Ticket) { x.At += 1000 },
	} {
		put(change)
		require.Empty(t, f.Tickets(), what)
	}
	old := filepath.Join(f.Dir(), "coming-0123456789abcdef")
	young := filepath.Join(f.Dir(), "coming-1123456789abcdef")
	require.NoError(t, os.WriteFile(old, nil, 0o600))
	require.NoError(t, os.WriteFile(young, nil, 0o600))
	past := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(old, past, past))
	f.Post()
	names, err := os.ReadDir(f.Dir())
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.FileExists(t, young, "somebody may be writing it")
}

// TestWhatOthersPutForTickets: what is not its user's own, plain and sound is none.
func TestWhatOthersPutForTickets(t *testing.T) {
	f := folder(t)
	at := func(name string) string { return filepath.Join(f.Dir(), name) }
	me := "ticket-" + strconv.Itoa(os.Getuid()) + "-"
	x := Ticket{Version: ticketVersion, UID: os.Getuid(), Boot: proc.BootID(), At: Clock()}
	good, err := json.Marshal(x)
	require.NoError(t, err)
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, good, 0o644))
	require.NoError(t, os.Symlink(secret, at(me+"0000000000000000")))
	require.NoError(t, os.Link(secret, at(me+"0000000000000001")))
	require.NoError(t, syscall.Mkfifo(at(me+"0000000000000002"), 0o644))
	require.NoError(t, os.Mkdir(at(me+"0000000000000003"), 0o755))
	require.NoError(t, os.WriteFile(at(me+"0000000000000004"), good, 0o600))
	require.NoError(t, os.Chmod(at(me+"0000000000000004"), 0o666)) // anybody could write it
	require.NoError(t, os.WriteFile(at(me+"0000000000000005"), []byte(string(good)+strings.Repeat(" ", most)), 0o644))
	require.NoError(t, os.WriteFile(at(me+"0000000000000006"), []byte(strings.Repeat("{", 1000)), 0o644))
	require.NoError(t, os.WriteFile(at("ticket-4242-0000000000000007"), good, 0o644)) // it is not of the user 4242
	require.NoError(t, os.WriteFile(at("ticket-0"+me[len("ticket-"):]+"0000000000000008"), good, 0o644))
	require.NoError(t, os.WriteFile(at(me+"short"), good, 0o644))
	says := func(n int, change func(*Ticket)) {
		y := x
		change(&y)
		b, err := json.Marshal(y)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(at(me+"10000000000000"+strconv.Itoa(n)), b, 0o644))
	}
	for i, change := range []func(*Ticket){
		func(y *Ticket) { y.Version = 2 }, func(y *Ticket) { y.UID++ }, func(y *Ticket) { y.Used = -1 },
		func(y *Ticket) { y.Used = math.MaxFloat64 }, func(y *Ticket) { y.Waits = -1 }, func(y *Ticket) { y.Holds = -1 },
		func(y *Ticket) { y.Wants = []Want{{GPUs: 0, Jobs: 1}} }, func(y *Ticket) { y.Wants = []Want{{GPUs: 1}} },
		func(y *Ticket) { y.Wants = []Want{{GPUs: 1, Jobs: 1, Memory: -1}} },
		func(y *Ticket) { y.Wants = make([]Want, mostWants+1) },
	} {
		says(10+i, change)
	}
	require.Empty(t, f.Tickets())
	p := f.Post()
	require.NoError(t, p.Put(Ticket{User: "\x1b[2Jann"}))
	require.Len(t, f.Tickets(), 1)
	require.NotContains(t, f.Tickets()[0].User, "\x1b")
	for i := range 3 * mostTickets {
		require.NoError(t, os.WriteFile(at(me+"2"+strings.Repeat("0", 13)+strconv.Itoa(10+i)), good, 0o644))
	}
	require.Len(t, f.Tickets(), mostTickets, "so many of one user are read")
}

// TestNobodyTakesAnothersTicket: another user can't write, remove or replace a ticket, and what they put there under
// somebody's name counts for nothing.
func TestNobodyTakesAnothersTicket(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: nobody else can be another user")
	}
	dir, err := os.MkdirTemp("/tmp", "berth-tickets")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, fs.ModeSticky|0o777))
	f, err := Open([]string{dir})
	require.NoError(t, err)
	p := f.Post()
	require.NoError(t, p.Put(Ticket{User: "root"}))
	was := f.Tickets()
	require.Len(t, was, 1)
	other := func(script string) error {
		cmd := exec.Command("sh", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TICKET="+p.name)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 60002, Gid: 60002}}
		return cmd.Run()
	}
	for _, script := range []string{`echo x > $TICKET`, `rm -f $TICKET`, `echo x > mine; mv -f mine $TICKET`,
		`chmod 666 $TICKET`, `mv $TICKET elsewhere`} {
		require.Error(t, other(script), script)
	}
	require.NoError(t, other(`cp $TICKET ticket-0-00000000000000ff; cp $TICKET ticket-60002-00000000000000ff`))
	require.Equal(t, was, f.Tickets())
	fi, err := os.Stat(filepath.Join(dir, p.name))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o644), fi.Mode())
}

func FuzzTicket(f *testing.F) {
	b, _ := json.Marshal(Ticket{Version: 1, User: "ann", Boot: "b", Used: 12.5, Wants: []Want{{GPUs: 1, Jobs: 3}}})
	f.Add(b)
	f.Add([]byte(`{"version":1,"user":"\u001b[2J","uid":-1,"wants":[{"gpus":1e9,"jobs":1}]}`))
	f.Add([]byte(`{"version":1,"used_gpu_seconds":1e400}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := parseTicket(b)
		if err != nil {
			require.Equal(t, Ticket{}, x)
			return
		}
		require.Equal(t, 1, x.Version)
		require.LessOrEqual(t, len(x.Wants), mostWants)
		for _, n := range []float64{x.Used, x.At, x.Waits} {
			require.True(t, n >= 0 && n <= mostUsed)
		}
		require.NotContains(t, x.User, "\x1b")
		again, err := json.Marshal(x)
		require.NoError(t, err)
		y, err := parseTicket(again)
		require.NoError(t, err)
		require.Equal(t, x, y)
	})
}
