package lease

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"berth/backend/agent/lease/leasetest"
)

// TestMain also plays a user who starts jobs.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BERTH_TEST_LEASES"); dir != "" {
		if err := play(dir, os.Getenv("BERTH_TEST_MARKS")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func folder(t *testing.T) *Folder {
	t.Helper()
	f, err := Open([]string{filepath.Join(t.TempDir(), "leases")})
	require.NoError(t, err)
	return f
}

func TestALeaseIsHeldByWhoInheritsIt(t *testing.T) {
	f := folder(t)
	fi, err := os.Stat(f.Dir())
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|fs.ModeSticky|0o777, fi.Mode())
	me := Holder{User: "ann", UID: 7, Home: "/h", Job: "12", Since: time.Now().UTC()}
	l, err := f.Take([]string{"GPU-b", "GPU-a"}, me)
	require.NoError(t, err)
	require.Len(t, l.Files(), 2)
	me.Version = version
	require.Equal(t, map[string]Holder{"GPU-a": me, "GPU-b": me}, f.Holders([]string{"GPU-a", "GPU-b", "GPU-c"}))
	_, err = f.Take([]string{"GPU-c", "GPU-b"}, Holder{})
	var held *HeldError
	require.ErrorAs(t, err, &held)
	require.Equal(t, "job 12 of ann has the GPU GPU-b", err.Error())
	require.NotContains(t, f.Holders([]string{"GPU-c"}), "GPU-c", "all or none")

	// A program that inherits the files has the GPUs, though whoever started it is gone.
	r, w, err := os.Pipe()
	require.NoError(t, err)
	child := exec.Command("sh", "-c", "exec 5<&0; (read x <&5) & exit 0") // its input would be /dev/null
	child.Stdin, child.ExtraFiles = r, l.Files()
	require.NoError(t, child.Run()) // its own child lives on
	l.Close()
	require.Len(t, f.Holders([]string{"GPU-a", "GPU-b"}), 2)
	_ = r.Close()
	require.NoError(t, w.Close())
	require.Eventually(t, func() bool { return len(f.Holders([]string{"GPU-a", "GPU-b"})) == 0 }, time.Minute,
		time.Millisecond)
	l, err = f.Take([]string{"GPU-a"}, Holder{})
	require.NoError(t, err)
	l.Close()
}

func TestShares(t *testing.T) {
	f := folder(t)
	a, err := f.Take([]string{"GPU-a"}, Holder{Reserved: 1})
	require.NoError(t, err)
	b, err := f.Take([]string{"GPU-a"}, Holder{Reserved: 1})
	require.NoError(t, err)
	a.Close()
	_, err = f.Take([]string{"GPU-a"}, Holder{})
	require.ErrorAs(t, err, new(*HeldError))
	require.Len(t, f.Holders([]string{"GPU-a"}), 1)
	b.Close()
	whole, err := f.Take([]string{"GPU-a"}, Holder{})
	require.NoError(t, err)
	_, err = f.Take([]string{"GPU-a"}, Holder{Reserved: 1})
	require.ErrorAs(t, err, new(*HeldError))
	whole.Close()
	mine, theirs := Holder{UID: 1, Home: "/a", Job: "1", Reserved: 1}, Holder{UID: 2, Home: "/a", Job: "2", Reserved: 1}
	for range 2 {
		a, err = f.Take([]string{"GPU-a"}, mine)
		require.NoError(t, err)
		b, err = f.Take([]string{"GPU-a"}, mine)
		require.NoError(t, err)
		_, err = f.Take([]string{"GPU-a"}, theirs)
		var held *HeldError
		require.ErrorAs(t, err, &held, "only one queue knows how much each of its jobs has")
		require.Equal(t, "1", held.By.Job)
		require.Len(t, f.Holders([]string{"GPU-a"}), 1)
		a.Close()
		b.Close()
		mine, theirs = theirs, mine
		mine.Job, theirs.Job = theirs.Job, mine.Job
	}
}

// TestWhatOthersPutThere finds links, pipes and garbage where leases are expected, as anybody may put them there.
func TestWhatOthersPutThere(t *testing.T) {
	f := folder(t)
	at := func(name string) string { return filepath.Join(f.Dir(), name) }
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("precious"), 0o600))
	require.NoError(t, os.Symlink(secret, at("GPU-link")))
	require.NoError(t, os.Link(secret, at("GPU-hard")))
	require.NoError(t, syscall.Mkfifo(at("GPU-pipe"), 0o666))
	require.NoError(t, os.Mkdir(at("GPU-dir"), 0o777))
	for _, name := range []string{"GPU-link", "GPU-hard", "GPU-pipe", "GPU-dir"} {
		_, err := f.Take([]string{name}, Holder{Job: "1"})
		require.ErrorContains(t, err, at(name))
		require.ErrorContains(t, err, "can remove it")
		require.False(t, errors.As(err, new(*HeldError)))
		require.Empty(t, f.Holders([]string{name}))
	}
	b, err := os.ReadFile(secret)
	require.NoError(t, err)
	require.Equal(t, "precious", string(b))
	for _, name := range []string{"", "..", "GPU/x", "GPU-\n", strings.Repeat("x", 81)} {
		_, err := f.Take([]string{name}, Holder{})
		require.ErrorContains(t, err, "no UUID", "%q", name)
	}
	require.NoError(t, os.WriteFile(at("GPU-garbage"), []byte(strings.Repeat("{", 1<<20)), 0o666))
	l, err := f.Take([]string{"GPU-garbage"}, Holder{Job: "5", User: "bob"})
	require.NoError(t, err)
	require.Equal(t, "5", f.Holders([]string{"GPU-garbage"})["GPU-garbage"].Job)
	l.Close()

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Symlink(t.TempDir(), file+".link"))
	for _, dir := range []string{file, file + ".link", filepath.Join(file, "below"), "/proc/self/none/x"} {
		_, err := Open([]string{dir})
		require.ErrorContains(t, err, dir)
	}
	_, err = Open([]string{file, f.Dir()})
	require.ErrorContains(t, err, file, "others may use it: nobody would see them elsewhere")
	other, err := Open([]string{filepath.Join(file, "below"), f.Dir()})
	require.NoError(t, err)
	require.Equal(t, f.Dir(), other.Dir(), "the first that can be made")
	require.NoError(t, os.Chmod(f.Dir(), 0o700)) // its maker was ended before it was done
	_, err = Open([]string{f.Dir()})
	require.NoError(t, err)
	fi, err := os.Stat(f.Dir())
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|mode, fi.Mode())
}

// TestALeaseWhoseFileIsRemoved: whoever locks a file that is no more under its name has nothing.
func TestALeaseWhoseFileIsRemoved(t *testing.T) {
	f := folder(t)
	old, err := f.open("GPU-a", true)
	require.NoError(t, err)
	defer old.Close()
	require.NoError(t, os.Remove(old.Name()))
	require.False(t, f.is("GPU-a", old))
	l, err := f.Take([]string{"GPU-a"}, Holder{Job: strings.Repeat("7", 9999)})
	require.NoError(t, err)
	defer l.Close()
	require.True(t, f.is("GPU-a", l.Files()[0]))
	require.Len(t, f.Holders([]string{"GPU-a"})["GPU-a"].Job, 200, "what is long is cut, and not left as it was")
}

func FuzzHolder(f *testing.F) {
	b, _ := json.Marshal(Holder{Version: 1, User: "ann", Job: "12_3", Since: time.Now()})
	f.Add(b)
	f.Add([]byte(`{"version":1,"user":"\u001b[2J","uid":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := parse(b)
		if h.Version == 0 {
			require.Equal(t, Holder{}, h)
		}
		require.LessOrEqual(t, len(h.User+h.Home+h.Job+h.Command), 800)
	})
}

// gpus are how many there are where several users start jobs.
const gpus = 8

// play starts jobs on GPUs, as many as the input says, each a process that has the lease and is killed at some time.
// What holds a GPU makes a file for it, which is there once only.
func play(dir, marks string) error {
	f, err := Open([]string{dir})
	if err != nil {
		return err
	}
	me := Holder{User: strconv.Itoa(os.Getuid()), UID: os.Getuid()}
	var n int
	if _, err := fmt.Fscan(os.Stdin, &n); err != nil {
		return err
	}
	for started := 0; started < n; {
		var want []string
		for _, i := range rand.Perm(gpus)[:1+rand.IntN(3)] {
			want = append(want, fmt.Sprintf("GPU-%d", i))
		}
		me.Job = strconv.Itoa(started)
		l, err := f.Take(want, me)
		if errors.As(err, new(*HeldError)) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		for _, uuid := range want {
			m, err := os.OpenFile(filepath.Join(marks, uuid), os.O_CREATE|os.O_EXCL, 0o666)
			if err != nil {
				return fmt.Errorf("somebody else has %s, too: %w", uuid, err)
			}
			_ = m.Close()
		}
		child := exec.Command("cat")
		in, err := child.StdinPipe()
		if err != nil {
			return err
		}
		child.ExtraFiles = l.Files()
		if err := child.Start(); err != nil {
			return err
		}
		if started%2 == 0 {
			l.Close() // the program alone has it
			l = &Lease{}
		}
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // it uses them
		for _, uuid := range want {
			if err := os.Remove(filepath.Join(marks, uuid)); err != nil {
				return err
			}
		}
		if started%3 == 0 {
			_ = child.Process.Kill()
		}
		_ = in.Close()
		_ = child.Wait()
		l.Close()
		started++
	}
	fmt.Println("started", n)
	return nil
}

// TestThreeUsers has three users start 1,000 jobs together, 10,000 in the long form: no GPU is ever held by two, and
// none is lost. The kernel's rule for files of others in a folder that all can write to is on.
func TestThreeUsers(t *testing.T) {
	leasetest.SeveralUsers(t)
	all := 1000
	if os.Getenv("BERTH_CHAOS") != "" {
		all = 10_000
	}
	dir, err := os.MkdirTemp("/tmp", "berth-leases")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	exe := filepath.Join(dir, "test")
	copyProgram(t, exe)
	leases, marks := filepath.Join(dir, "leases"), filepath.Join(dir, "marks")
	require.NoError(t, os.Mkdir(marks, 0o700))
	require.NoError(t, os.Chmod(marks, 0o777)) // not sticky: whoever has the GPU has its mark
	require.NoError(t, os.Mkdir(leases, 0o700))
	require.NoError(t, os.Chmod(leases, fs.ModeSticky|0o777))
	var users errgroup.Group
	for i := range 3 {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "BERTH_TEST_LEASES="+leases, "BERTH_TEST_MARKS="+marks)
		uid := uint32(60001 + i)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Stdin = strings.NewReader(strconv.Itoa(all/3 + 1))
		cmd.Dir = "/"
		users.Go(func() error {
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	require.NoError(t, users.Wait())
	f, err := Open([]string{leases})
	require.NoError(t, err)
	var uuids []string
	for i := range gpus {
		uuids = append(uuids, fmt.Sprintf("GPU-%d", i))
	}
	require.Empty(t, f.Holders(uuids))
	l, err := f.Take(uuids, Holder{})
	require.NoError(t, err, "none is lost")
	l.Close()
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	in, err := os.Open(exe)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, bufio.NewReader(in))
	require.NoError(t, err)
	require.NoError(t, out.Close())
}
