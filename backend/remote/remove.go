package remote

import (
	"context"
	"fmt"
	"path"
)

// RemoveAgent ends the agent on the host, with Berth's own terminals, and removes it and its folder;
// nothing else of the host is touched. Where no agent was put in place it does nothing.
func (c *Conn) RemoveAgent(ctx context.Context) error {
	p := c.loadPlacement()
	if p == nil {
		return nil
	}
	if out, err := c.script(ctx, p.command("uninstall")+" </dev/null 2>&1"); err != nil {
		return fmt.Errorf("removing the agent from %s: %w: %s", c.t.where(), err, oneLine(out))
	}
	// The folder of this build; other builds beside it may serve another home.
	if _, err := c.script(ctx, "rm -f -- "+quote(p.Program)+"; rmdir -- "+quote(path.Dir(p.Program))+" 2>/dev/null || :"); err != nil {
		return fmt.Errorf("removing the agent's program from %s: %w", c.t.where(), err)
	}
	c.forgetPlacement()
	return nil
}
