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
	// The agent's own program knows what it made; the program itself is what was copied there. The
	// folders go if nothing else is in them: another home's agent, say.
	out, err := c.script(ctx, fmt.Sprintf("f=%s\n[ -x \"$f\" ] || exit 0\n%s </dev/null 2>&1 || exit 1\nrm -f -- \"$f\"\nd=${f%%/*}\nrmdir -- \"$d\" \"${d%%/*}\" 2>/dev/null\nexit 0",
		quote(p.Program), agentCommand(p.Program, "uninstall --end "+quote("--socket="+p.Socket))))
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
