package ssh

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

func TestExecOverPlainSSH(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t).trust(s)
	w.hosts(s.Stanza("box", w.known))
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")

	odd := "a 'b' \"c\" $HOME `x` \\n !! * \n\té€"
	r := plain(t, ctx, c, api.ExecRequest{Argv: []string{"printf", "%s|", odd, "", "-n"}}, "")
	require.NoError(t, r.err)
	require.Equal(t, odd+"||-n|", r.out)

	r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", "cat; echo bad >&2; exit 7"}}, "hello")
	require.NoError(t, r.err)
	require.Equal(t, 7, r.status.Code)
	require.Equal(t, "hello", r.out)
	require.Equal(t, "bad\n", r.err2)

	r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", "kill -TERM $$"}}, "")
	require.Equal(t, "TERM", r.status.Signal)
	require.Equal(t, 143, r.status.Code)

	r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", "pwd; echo $X"}, Dir: "/usr", Env: []string{"X=a b"}},
		"")
	require.Equal(t, "/usr\na b\n", r.out)

	r = plain(t, ctx, c, api.ExecRequest{Argv: []string{"no-such-program"}}, "")
	require.Equal(t, 127, r.status.Code)
}
