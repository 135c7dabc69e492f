package ssh

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
	"berth/backend/transport/wire"
)

func TestExecOverPlainSSH(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t).reach(s)
	ctx := w.ctx(nil)
	for _, transport := range []string{"own", "openssh"} {
		t.Run(transport, func(t *testing.T) {
			if _, err := exec.LookPath("ssh"); err != nil && transport == "openssh" {
				t.Skip("no ssh on this machine: install openssh-client")
			}
			c, err := w.m.Conn(ctx, "i-"+transport, backend.SSHTarget{Host: "box", Transport: transport})
			require.NoError(t, err)
			execPlain(t, ctx, c, transport == "own")
		})
	}
}

// execPlain runs commands over plain SSH; signals says that the transport names them.
func execPlain(t *testing.T, ctx context.Context, c *Conn, signals bool) {
	odd := "a 'b' \"c\" $HOME `x` \\n !! * \n\té€"
	r := plain(t, ctx, c, api.ExecRequest{Argv: []string{"printf", "%s|", odd, "", "-n"}}, "")
	require.NoError(t, r.err)
	require.Equal(t, odd+"||-n|", r.out)

	r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", "cat; echo bad >&2; exit 7"}}, "hello")
	require.NoError(t, r.err)
	require.Equal(t, 7, r.status.Code)
	require.Equal(t, "hello", r.out)
	require.Equal(t, "bad\n", r.err2)

	for name, number := range map[string]int{"TERM": 15, "KILL": 9, "INT": 2, "SEGV": 11} {
		r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", "kill -" + name + " $$"}}, "")
		require.NoError(t, r.err)
		want := wire.ExitStatus{Code: 128 + number}
		if signals {
			want.Signal = name
		}
		require.Equal(t, result{status: want}, r)
	}
	r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", "printf 'no end'; printf 'nor here' >&2; exit 255"}}, "")
	require.Equal(t, result{status: wire.ExitStatus{Code: 255}, out: "no end", err2: "nor here"}, r)

	r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", "pwd; echo $X"}, Dir: "/usr", Env: []string{"X=a b"}},
		"")
	require.Equal(t, "/usr\na b\n", r.out)

	for _, env := range [][]string{nil, {"X=a b", "no variable", "=x"}} {
		for argv0, status := range map[string]int{"no-such-program": 127, "/no/such": 127, "-no-such": 127, "no=such": 127,
			"/etc/passwd": 126, "/etc": 126} {
			r = plain(t, ctx, c, api.ExecRequest{Argv: []string{argv0, "-x"}, Env: env}, "")
			require.NoError(t, r.err)
			require.Equal(t, status, r.status.Code, "%s: %s", argv0, r.err2)
			require.Contains(t, r.err2, argv0)
		}
	}
	every := make([]byte, 255)
	for i := range every {
		every[i] = byte(i + 1)
	}
	dir := filepath.Join(t.TempDir(), "\xff dir")
	require.NoError(t, os.Mkdir(dir, 0o755))
	r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", `printf '%s|' "$1" "$V"; pwd`, "sh", string(every)},
		Dir: dir, Env: []string{"V=\x80v"}}, "")
	require.Equal(t, string(every)+"|\x80v|"+dir+"\n", r.out)

	// Longer than a command line may be, and with input of its own; then longer than is allowed.
	for _, fill := range []string{"a", "'", "\xff\n"} {
		long := strings.Repeat(fill, 100_000/len(fill))
		r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", `printf %s "$@" | cksum; cat`, "sh", long, long, "end"}},
			strings.Repeat("typed", 100_000))
		require.NoError(t, r.err)
		sum, rest, _ := strings.Cut(r.out, "\n")
		local := exec.Command("cksum")
		local.Stdin = strings.NewReader(long + long + "end")
		want, err := local.Output()
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(string(want)), sum, r.err2)
		require.True(t, strings.Repeat("typed", 100_000) == rest, "%d bytes of input arrived", len(rest))
	}
	long := strings.Repeat("a", 100_000)
	r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"true", long, long, long}}, "")
	require.Equal(t, api.CodeUsage, code(t, r.err))
	require.ErrorContains(t, r.err, "300008 bytes")
	require.ErrorContains(t, r.err, "262144")
}

// TestTheMarkOfACodeIsTakenOut cuts a stream with a mark in it in two at each place, and at all.
func TestTheMarkOfACodeIsTakenOut(t *testing.T) {
	mark := "\x00berth-1\n"
	for _, text := range []string{"", "\x00", "a" + mark, mark + "b", "\x00be" + mark + "\x00berth-1", "\x00\x00berth-" + mark} {
		want := strings.Replace(text, mark, "", 1)
		for cut := range len(text) + 1 {
			u := &unmarked{r: io.MultiReader(strings.NewReader(text[:cut]), strings.NewReader(text[cut:])), mark: []byte(mark)}
			got, err := io.ReadAll(u)
			require.NoError(t, err)
			require.Equal(t, want, string(got))
			require.Equal(t, strings.Contains(text, mark), u.found)
			got, err = io.ReadAll(&unmarked{r: iotest.OneByteReader(strings.NewReader(text)), mark: []byte(mark)})
			require.NoError(t, err)
			require.Equal(t, want, string(got))
		}
	}
	u := &unmarked{r: io.MultiReader(strings.NewReader("more? "), never{}), mark: []byte(mark)}
	p := make([]byte, 10)
	n, err := u.Read(p)
	require.NoError(t, err)
	require.Equal(t, "more? ", string(p[:n]), "what can't be the mark does not wait")
}

// never is a reader that must not be asked.
type never struct{}

func (never) Read([]byte) (int, error) { panic("read beyond what was there") }
