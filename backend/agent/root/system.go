package root

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"

	"berth/backend/api"
)

// The scripts of the verbs that have one. They take no parameters.
const (
	newKeyScript = `set -e
f=/etc/ssh/berth_new_host_key
if [ ! -s $f.pub ]; then rm -f $f $f.pub; ssh-keygen -q -t ed25519 -N '' -C "" -f $f; fi
cat $f.pub`
	useKeyScript = `set -e
cd /etc/ssh
mv berth_new_host_key.pub ssh_host_ed25519_key.pub
mv berth_new_host_key ssh_host_ed25519_key
sync
pid=$(cat /run/sshd.pid 2>/dev/null || cat /var/run/sshd.pid 2>/dev/null || pgrep -o -x sshd)
kill -HUP "$pid"`
	restartScript = `sync; shutdown -r now || systemctl reboot || reboot`
)

// parseHostKey: a host key that was handed in with the first boot is known to the provider, so the machine
// makes one of its own. It is in use only after the second call: both are pinned before.
func parseHostKey(args []string) (action, error) {
	if len(args) == 1 {
		switch args[0] {
		case "new":
			return script(newKeyScript), nil
		case "use":
			return script(useKeyScript), nil
		}
	}
	return nil, wrong("hostkey takes one word: new or use")
}

func parseRestart(args []string) (action, error) {
	if len(args) != 0 {
		return nil, wrong("restart takes no arguments")
	}
	return script(restartScript), nil
}

// script runs one of the scripts above, with nothing of the caller's environment.
func script(text string) action {
	return func(ctx context.Context, out io.Writer) error {
		var said bytes.Buffer
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", text)
		cmd.Env, cmd.Dir = []string{"PATH=" + DefaultPath, "LC_ALL=C", "HOME=/root"}, "/"
		cmd.Stdout, cmd.Stderr = out, &said
		err := cmd.Run()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			return api.Errorf(api.CodeFailed, "the script ended with %w: %s", err, lastBytes(said.String(), 1000))
		case err != nil:
			return api.Errorf(api.CodeFailed, "%w", err)
		}
		return nil
	}
}

// lastBytes is the end of a text, at most n bytes.
func lastBytes(s string, n int) string {
	s = strings.TrimSpace(s)
	return strings.ToValidUTF8(s[max(0, len(s)-n):], "")
}
