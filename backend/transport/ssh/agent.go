package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/version"
)

// agentSlot is what a Conn knows of its agent. turn is held by whoever looks for it or places it. mu guards memory
// only: nobody waits for the host while he holds it.
type agentSlot struct {
	turn chan struct{}

	mu      sync.Mutex
	place   *placement // nil: not known yet
	info    *api.AgentInfo
	broken  *backend.AgentUnavailable
	tunnel  *tunnel
	checked bool // the running agent was compared with ours
	leaving bool // it is being removed, or was: nobody gets through to it, nor puts it there again

	starting chan struct{} // held by whoever starts the tunnel
}

func (a *agentSlot) init() { a.turn, a.starting = make(chan struct{}, 1), make(chan struct{}, 1) }

func (a *agentSlot) close() {
	a.mu.Lock()
	t := a.tunnel
	a.mu.Unlock()
	if t != nil {
		t.close()
	}
}

func (a *agentSlot) known() (*placement, *backend.AgentUnavailable) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.place, a.broken
}

func (a *agentSlot) isLeaving() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.leaving
}

func (a *agentSlot) set(p *placement, info *api.AgentInfo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.place, a.broken = p, nil
	if info != nil {
		a.info, a.checked = info, true
	}
}

// leave begins the agent's removal, or takes that back.
func (a *agentSlot) leave(begin bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leaving = begin
}

// errLeaving is for those who want an agent that is being removed.
var errLeaving = api.Errorf(api.CodeConflict, "the instance is being forgotten")

// lock waits for the turn.
func (a *agentSlot) lock(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *agentSlot) unlock() { <-a.turn }

// Agent returns a new connection to the instance's agent. The first call on a host puts the agent in
// place; the first call on a connection tries where it was before, and compares versions afterwards,
// in the background. Where no agent can run the error is a *backend.AgentUnavailable, at once from then on.
func (c *Conn) Agent(ctx context.Context) (net.Conn, error) {
	p, broken := c.agent.known()
	if broken != nil {
		return nil, broken
	}
	if c.agent.isLeaving() {
		return nil, errLeaving
	}
	if p != nil {
		conn, err := c.dialAgent(ctx, p)
		if err == nil || ctx.Err() != nil || !c.alive() {
			return conn, c.lineError(ctx, err)
		}
		// It is gone, or was never where the cache said: look again.
	}
	if err := c.agent.lock(ctx); err != nil {
		return nil, err
	}
	defer c.agent.unlock()
	if c.agent.isLeaving() {
		return nil, errLeaving
	}
	if now, broken := c.agent.known(); broken != nil {
		return nil, broken
	} else if now != nil && now != p {
		return c.dialAgentNow(ctx, now)
	}
	if p == nil {
		if cached := c.m.loadPlacement(c.t); cached != nil {
			if conn, err := c.dialAgent(ctx, cached); err == nil {
				c.agent.set(cached, nil)
				c.m.tellAgent(c)
				c.checkLater()
				return conn, nil
			}
			if ctx.Err() != nil || !c.alive() {
				return nil, c.lineError(ctx, errLineBroke)
			}
		} else if conn := c.dialHanded(ctx); conn != nil {
			return conn, nil
		}
	}
	if _, err := c.ensure(ctx); err != nil {
		return nil, err
	}
	p, _ = c.agent.known()
	return c.dialAgentNow(ctx, p)
}

// handedLimit is how long an agent that was handed in is waited for: it starts beside sshd, on a busy computer a good
// while after it, and to put another one there meanwhile would only take longer. Each look costs a machine that boots a
// little of its time.
const (
	handedLimit = 30 * time.Second
	handedPause = 250 * time.Millisecond
)

// dialHanded connects to the agent that was handed in with the machine's first boot, if one was and
// answers soon; where the machine has it all is found out afterwards, in the background. The turn is held.
func (c *Conn) dialHanded(ctx context.Context) net.Conn {
	socket := c.t.ssh.Agent
	if socket == "" {
		return nil
	}
	wait := 20 * time.Millisecond
	for deadline := time.Now().Add(handedLimit); ; wait = min(wait*8/5, handedPause) {
		conn, err := c.tr.dial(ctx, "unix", socket)
		if err == nil {
			c.agent.set(&placement{Socket: socket}, nil)
			c.m.tellAgent(c)
			c.ensureLater()
			return conn
		}
		if !errors.Is(err, errNoSocket) || time.Now().After(deadline) {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// ensureLater does the work of EnsureAgent in the background, on a machine that has only just booted.
func (c *Conn) ensureLater() {
	c.wg.Go(func() {
		select { // the first seconds belong to the caller
		case <-time.After(ensureDelay):
		case <-c.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, 2*time.Minute)
		defer cancel()
		if _, err := c.EnsureAgent(ctx); err != nil && ctx.Err() == nil {
			c.m.o.Log.Warn("looking after the agent that was handed in", "host", c.t.where(), "error", err)
		}
	})
}

func (c *Conn) dialAgentNow(ctx context.Context, p *placement) (net.Conn, error) {
	conn, err := c.dialAgent(ctx, p)
	if err != nil {
		return nil, c.lineError(ctx, fmt.Errorf("the agent on %s was started but does not answer: %w", c.t.where(), err))
	}
	return conn, nil
}

// dialAgent connects to the agent by the way that works on this host.
func (c *Conn) dialAgent(ctx context.Context, p *placement) (net.Conn, error) {
	if !p.viaExec() {
		conn, err := c.tr.dial(ctx, "unix", p.Socket)
		if !errors.Is(err, errProhibited) {
			return conn, err
		}
		p.setViaExec()
	}
	t, err := c.getTunnel(ctx, p)
	if err != nil {
		return nil, err
	}
	return t.open(ctx, "agent")
}

// EnsureAgent puts the agent in place and starts it if that was not done yet on this connection, and
// returns what it says of itself. It tries again where it failed before.
func (c *Conn) EnsureAgent(ctx context.Context) (api.AgentInfo, error) {
	if err := c.agent.lock(ctx); err != nil {
		return api.AgentInfo{}, err
	}
	defer c.agent.unlock()
	c.agent.leave(false)
	return c.ensure(ctx)
}

// ensure does the work of EnsureAgent; the turn is held.
func (c *Conn) ensure(ctx context.Context) (api.AgentInfo, error) {
	p, info, err := c.placeAgent(ctx)
	var broken *backend.AgentUnavailable
	if errors.As(err, &broken) {
		c.m.o.Log.Warn("no agent", "host", c.t.where(), "reason", broken.Reason)
		c.agent.mu.Lock()
		c.agent.broken = broken
		c.agent.mu.Unlock()
		c.m.tellAgent(c)
	}
	if err != nil {
		return api.AgentInfo{}, c.lineError(ctx, err)
	}
	c.agent.set(p, &info)
	c.m.tellAgent(c)
	c.savePlacement(p)
	return info, nil
}

// How long after a connection was made it is settled for streams, the versions are compared, and an agent that was
// handed in is looked after.
const (
	settleDelay = 100 * time.Millisecond
	checkDelay  = time.Second
	ensureDelay = 5 * time.Second
)

// checkLater compares the running agent with ours in the background, and replaces an older one.
func (c *Conn) checkLater() {
	c.agent.mu.Lock()
	again := c.agent.checked
	c.agent.checked = true
	c.agent.mu.Unlock()
	if again || c.ctx.Err() != nil {
		return
	}
	c.wg.Go(func() {
		// The caller's own requests go first on a new connection.
		select {
		case <-time.After(settleDelay):
		case <-c.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, 2*time.Minute)
		defer cancel()
		// sshd switches Nagle's algorithm off only when a session runs a command (packet.c,
		// ssh_packet_set_interactive): on a line that only forwards, every stream is a quarter slower.
		if _, err := c.script(ctx, ":"); err != nil && ctx.Err() == nil {
			c.m.o.Log.Debug("running a first command", "host", c.t.where(), "error", err)
		}
		select {
		case <-time.After(checkDelay):
		case <-c.ctx.Done():
			return
		}
		if c.m.isHandedOver() {
			return
		}
		if err := c.check(ctx); err != nil && ctx.Err() == nil {
			c.m.o.Log.Warn("comparing the agent's version", "host", c.t.where(), "error", err)
		}
	})
}

func (c *Conn) check(ctx context.Context) error {
	client := &api.AgentClient{Dial: c.Agent}
	defer client.Close()
	info, err := client.Info(ctx)
	if err != nil {
		return err
	}
	c.agent.mu.Lock()
	c.agent.info = &info
	c.agent.mu.Unlock()
	c.m.tellAgent(c)
	b, err := c.m.program(ctx, info.OS, info.Arch)
	if err != nil {
		return err
	}
	theirs := version.Version{Number: info.Version, Built: info.Built}
	if b.hash == info.Hash || !b.version.Newer(theirs) {
		return nil
	}
	_, err = c.EnsureAgent(ctx)
	return err
}

// Info returns what the agent last said of itself, and the state of the agent for people.
func (c *Conn) Info() (*api.AgentInfo, AgentState) {
	c.agent.mu.Lock()
	defer c.agent.mu.Unlock()
	switch {
	case c.agent.broken != nil:
		return nil, AgentState{State: "unavailable", Reason: c.agent.broken.Reason, Transport: "ssh"}
	case c.agent.place == nil:
		return nil, AgentState{State: "connecting"}
	case c.agent.place.viaExec():
		return c.agent.info, AgentState{State: "ready", Transport: "dial"}
	}
	return c.agent.info, AgentState{State: "ready", Transport: "streamlocal"}
}

// lineError says that the line broke where that is why err happened.
func (c *Conn) lineError(ctx context.Context, err error) error {
	var e *api.Error
	var u *backend.AgentUnavailable
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &e), errors.As(err, &u):
		return err
	case !c.alive() || errors.Is(err, errLineBroke):
		return api.Errorf(api.CodeUnreachable, "the line to %s broke: %s", c.t.where(), c.reasonNow()).
			WithHint("Berth connects again by itself; repeat the command")
	}
	return api.Errorf(api.CodeUnreachable, "%w", err)
}

func (c *Conn) reasonNow() string {
	if c.alive() {
		return "the server ended the session"
	}
	return c.reason()
}
