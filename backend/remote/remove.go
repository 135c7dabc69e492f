package remote

import (
	"context"
	"errors"
	"fmt"

	"berth/backend/api"
)

// RemoveAgent ends the agent, with its terminals and commands, and removes what it and the manager
// put on the host: for an instance that is forgotten. It does nothing where there is no agent.
func (c *Conn) RemoveAgent(ctx context.Context) error {
	if err := c.agent.lock(ctx); err != nil {
		return err
	}
	defer c.agent.unlock()
	p, broken := c.agent.known()
	if p == nil {
		p = c.loadPlacement()
	}
	if p == nil || broken != nil {
		return nil
	}
	// The agent's own program knows what it made; the program itself came from here. On a file system
	// that other hosts share, their agents may run it too. What uploads left that broke
	// goes too. Folders go as far up as they are ours and empty.
	flags := []string{"--end", "--socket=" + p.Socket}
	if p.State != "" {
		flags = append(flags, "--state="+p.State)
	}
	out, err := c.script(ctx, fmt.Sprintf(`f=%s
[ -x "$f" ] || exit 0
%s </dev/null 2>&1 || exit 1
case $(stat -f -c %%T "$f" 2>/dev/null) in nfs*|smb*|cifs*|lustre|fuse*|ceph|afs|gpfs) exit 0 ;; esac
d=${f%%/*}
rm -f "$f" "${d%%/*}"/.berth-*.tmp
rmdir "$d" "${d%%/*}" 2>/dev/null
d=%s
while d=${d%%/*}; do
	case ${d##*/} in
	hosts|????????????) rmdir "$d" 2>/dev/null || break ;;
	berth|berth-*) rmdir "$d" 2>/dev/null; break ;;
	*) break ;;
	esac
done
exit 0`, quote(p.Program), agentCommand(p.Program, "uninstall "+words(flags)), quote(p.State)))
	var failed *scriptError
	if errors.As(err, &failed) {
		return api.Errorf(api.CodeFailed, "removing the agent from %s: %s", c.t.where(), lastLine(out))
	} else if err != nil {
		return c.lineError(ctx, err)
	}
	c.forgetPlacement()
	c.agent.mu.Lock()
	c.agent.place, c.agent.info, c.agent.checked = nil, nil, false
	c.agent.mu.Unlock()
	return nil
}
