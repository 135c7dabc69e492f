package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"

	"berth/backend/api"
	"berth/backend/base/shellquote"
)

// removeScript ends the agent by its own program, which knows what it made, and removes the program,
// which came from here: %[1]s, by the command %[2]s; its state is below %[3]s. It prints `absent` where
// the program is gone and something of the agent is not. On a file system that other hosts share, their
// agents may run the program too, and on this host another agent of the user's may: then it stays, once
// what was told to end has had two seconds to do so. What broken uploads left goes too. Folders go as
// far up as they are ours and empty.
const removeScript = `f=%[1]s
d=%[3]s
if [ ! -x "$f" ]; then
	[ ! -e "$d" ] && [ ! -S %[4]s ] && { [ -z "$d" ] || ! crontab -l 2>/dev/null | grep -qF -e "$d"; } && exit 0
	echo absent
	exit 0
fi
%[2]s </dev/null 2>&1 || exit 1
p=${f%%/*}
b=${p%%/*}
case $(stat -f -c %%T "$f" 2>/dev/null) in nfs*|smb*|cifs*|lustre|fuse*|ceph|afs|gpfs) exit 0 ;; esac
n=0
while for e in /proc/[0-9]*/exe; do [ "$e" -ef "$f" ] 2>/dev/null && break; done; [ "$e" -ef "$f" ] 2>/dev/null; do
	[ $((n += 1)) -gt 20 ] && exit 0
	sleep 0.1 2>/dev/null || sleep 1
done
rm -f "$f" "$b"/.berth-*.tmp
rmdir "$p" "$b" 2>/dev/null
for d in "$d" "$b"; do
	while d=${d%%/*}; do
		case ${d##*/} in
		hosts|????????????|home-*) rmdir "$d" 2>/dev/null || [ ! -e "$d" ] || break ;;
		berth|berth-*) rmdir "$d" 2>/dev/null; break ;;
		*) break ;;
		esac
	done
done
exit 0`

// RemoveAgent ends the agent, with its terminals and commands, and removes what it and the manager
// put on the host: for an instance that is forgotten. It does nothing where none was ever put. Its
// error says what is left.
func (c *Conn) RemoveAgent(ctx context.Context) error {
	if err := c.agent.lock(ctx); err != nil {
		return err
	}
	defer c.agent.unlock()
	p, _ := c.agent.known()
	if p == nil {
		p = c.loadPlacement()
	}
	if p == nil {
		return nil
	}
	there, err := c.removeWith(ctx, p, p.Program)
	if err == nil && !there {
		// Somebody removed the program: it comes back for as long as it takes to clean up.
		if err = c.removeWithNew(ctx, p); err != nil && c.alive() {
			if serr := c.endOverSocket(ctx, p); serr != nil {
				err = fmt.Errorf("%w; %w", err, serr)
			}
		}
	}
	if err != nil {
		err = c.lineError(ctx, err)
		e := api.AsError(err)
		return api.Errorf(e.Code, "removing the agent from %s: %w", c.t.where(), err).
			WithHint("left there: what runs from %s, the folder %s, and perhaps a line with that folder in the crontab",
				p.Program, p.State)
	}
	c.forgetPlacement()
	c.agent.mu.Lock()
	c.agent.place, c.agent.info, c.agent.checked = nil, nil, false
	c.agent.mu.Unlock()
	return nil
}

// removeWith removes the agent of p by a program. there is false where the program is gone, but not
// all of the agent.
func (c *Conn) removeWith(ctx context.Context, p *placement, program string) (there bool, err error) {
	flags := []string{"--end", "--socket=" + p.Socket}
	if p.State != "" {
		// The scratch folder stands beside it, in the home and elsewhere.
		flags = append(flags, "--state="+p.State, "--scratch="+path.Join(path.Dir(p.State), "scratch"))
	}
	out, err := c.script(ctx, fmt.Sprintf(removeScript, shellquote.Word(program), agentCommand(program,
		"uninstall "+shellquote.Line(flags...)), shellquote.Word(p.State), shellquote.Word(p.Socket)))
	var failed *scriptError
	if errors.As(err, &failed) {
		return true, api.Errorf(api.CodeFailed, "%s", strings.TrimPrefix(lastLine(out), "berth: agent uninstall: "))
	}
	return strings.TrimSpace(out) != "absent", err
}

// removeWithNew removes the agent of p by a program that is copied to the host for that.
func (c *Conn) removeWithNew(ctx context.Context, p *placement) error {
	n, b, _, err := c.choose(ctx)
	if err != nil {
		return err
	}
	if err := c.upload(ctx, n, b); err != nil {
		return err
	}
	there, err := c.removeWith(ctx, p, n.Program)
	if err == nil && !there {
		err = fmt.Errorf("its program was copied to %s and is not there any more", n.Program)
	}
	return err
}

// endOverSocket ends the agent of p where no program can.
func (c *Conn) endOverSocket(ctx context.Context, p *placement) error {
	client := &api.AgentClient{Dial: func(ctx context.Context) (net.Conn, error) {
		return c.tr.dial(ctx, "unix", p.Socket)
	}}
	defer client.Close()
	if err := client.Stop(ctx, api.StopRequest{End: true}); err != nil {
		return fmt.Errorf("ending it by its socket %s: %w", p.Socket, err)
	}
	return nil
}
