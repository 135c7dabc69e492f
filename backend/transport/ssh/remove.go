package ssh

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/backend/transport/sshconfig"
)

// removeScript ends the agent by its own program, which knows what it made: %[1]s, by the command %[2]s; its state is
// below %[3]s, its socket %[4]s. It prints `absent` where the program is gone and something of the agent is not.
const removeScript = `f=%[1]s
d=%[3]s
if [ -x "$f" ]; then
	%[2]s </dev/null 2>&1 || exit 1
	exit 0
fi
[ ! -e "$d" ] && [ ! -S %[4]s ] && { [ -z "$d" ] || ! crontab -l 2>/dev/null | grep -qF -e "$d"; } && exit 0
echo absent`

// findScript prints the folders of agents in the places where they are put, each with its record, if it has one, in one
// line. Which of those in the homes is this home's, the agent's program knows.
const findScript = homeScript + `for d in "$s"/hosts/*/agent /var/lib/berth/"$u"/*/hosts/*/agent /var/tmp/berth-"$u"/*/hosts/*/agent \
	/var/tmp/berth-"$u/$k"/agent /tmp/berth-"$u/$k"/agent /dev/shm/berth-"$u/$k"/agent; do
	p=${d%/*}
	[ -d "$d" ] && mine "$d" && mine "$p" && mine "${p%/*}" || continue
	printf 'agent %s\n' "$d"
	[ -f "$d/agent.json" ] && printf 'record %s\n' "$(tr -d '\n' <"$d/agent.json")"
done
exit 0`

// find looks for agents of which nothing is remembered.
func (r *removal) find(ctx context.Context) (found []*placement, err error) {
	out, err := r.c.script(ctx, findScript)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		what, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch {
		case what == "agent" && path.IsAbs(rest):
			found = append(found, &placement{State: rest, found: true})
		case what == "record" && len(found) > 0:
			var rec struct{ Socket, Exe string }
			if json.Unmarshal([]byte(rest), &rec) == nil { // the program reads it, too, and says why it can't be
				p := found[len(found)-1]
				p.Socket, p.Program = rec.Socket, rec.Exe
			}
		}
	}
	return found, nil
}

// RemoveAgent ends the agent, with its terminals and commands, and removes what it and the manager
// put on the host: for an instance that is forgotten. It does nothing where none was ever put. Its
// error is a *backend.Left.
func (c *Conn) RemoveAgent(ctx context.Context) error {
	_, err := c.removeFor(ctx, "")
	return err
}

// removeFor is RemoveAgent for one home, by its id, or for all (""). Where others use the agent, too, only what is of
// that home goes, and what stays is returned.
func (c *Conn) removeFor(ctx context.Context, home string) (*backend.Shared, error) {
	if err := c.agent.lock(ctx); err != nil {
		return nil, c.m.left(c.t, nil, err)
	}
	defer c.agent.unlock()
	p, _ := c.agent.known()
	if p == nil {
		p = c.m.loadPut(c.t)
	}
	c.agent.leave(true)
	err := c.closeTunnel(ctx)
	r := removal{c: c, home: home}
	if err == nil {
		err = r.remove(ctx, p)
	}
	if err != nil && r.programGone && p != nil && c.alive() && ctx.Err() == nil {
		if serr := c.endOverSocket(ctx, p); serr != nil {
			err = fmt.Errorf("%w; %w", err, serr)
		}
	}
	if err != nil {
		c.agent.leave(false)
		var found *backend.Left
		if errors.As(err, &found) {
			return nil, found
		}
		return nil, c.m.left(c.t, p, c.lineError(ctx, err))
	}
	c.forgetPlacement()
	c.agent.mu.Lock()
	c.agent.place, c.agent.info, c.agent.checked = nil, nil, false
	c.agent.mu.Unlock()
	return r.shared, nil
}

// removal is one removal of an agent.
type removal struct {
	c           *Conn
	home        string          // for whom; "": for all
	shared      *backend.Shared // it stays, because others use it
	programGone bool            // its own program is not there, and it may run all the same
}

// closeTunnel ends what goes through the tunnel, which may hold the one session that the server allows.
func (c *Conn) closeTunnel(ctx context.Context) error {
	closed := make(chan struct{})
	c.wg.Go(func() { // until the line ends, where the host is silent
		defer close(closed)
		c.agent.close()
	})
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remove removes the agent of p, or the one that is found where p is not known.
func (r *removal) remove(ctx context.Context, p *placement) error {
	if p == nil {
		return r.removeFound(ctx)
	}
	if p.Socket == "" {
		return r.removePut(ctx, p)
	}
	there, err := r.with(ctx, p, p.Program)
	if err != nil && strings.Contains(err.Error(), "flag provided but not defined") {
		return r.withNew(ctx, p) // it is of an older Berth, which knows no homes
	}
	if err != nil || there {
		return err
	}
	// Somebody removed the program: it comes back for as long as it takes to clean up.
	r.programGone = true
	return r.withNew(ctx, p)
}

// removeFound removes the agents that are found, each for itself. Its error says what of that stays.
func (r *removal) removeFound(ctx context.Context) error {
	found, err := r.find(ctx)
	if errors.Is(err, errNoShell) {
		return nil // nothing can have been put there
	}
	var left []*backend.Left
	for _, p := range found {
		if perr := r.withNew(ctx, p); perr != nil {
			left = append(left, r.c.m.left(r.c.t, p, r.c.lineError(ctx, perr)))
		}
	}
	if len(left) == 0 {
		return err
	}
	all := left[0]
	for _, l := range left[1:] {
		all.Path += ", " + l.Path
		all.Err = fmt.Errorf("%w; %s: %w", all.Err, l.Path, l.Err)
		all.Command = join(all.Command, l.Command)
	}
	return all
}

// putScript removes a program, %[1]s, that does not run on this host, by %[2]s; it prints `runs` of one that does.
const putScript = `f=%[1]s
[ -e "$f" ] || exit 0
%[2]s </dev/null >/dev/null 2>&1
[ $? -lt 126 ] && { echo runs; exit 0; }
rm -f "$f" || exit 1
d=${f%%/*}
rmdir "$d" "${d%%/*}" 2>/dev/null
exit 0`

// removePut removes the agent of p, which did not start there: by its own program, unless that is why.
func (r *removal) removePut(ctx context.Context, p *placement) error {
	out, err := r.c.script(ctx, fmt.Sprintf(putScript, shellquote.Word(p.Program), agentCommand(p.Program, "uninstall -h")))
	var failed *scriptError
	switch {
	case errors.As(err, &failed):
		return api.Errorf(api.CodeFailed, "%s", lastLine(out+"\n"+failed.stderr))
	case err != nil || strings.TrimSpace(out) != "runs":
		return err
	}
	_, err = r.with(ctx, p, p.Program)
	return err
}

// Remove takes from the host of an instance what is this home's there, by its id, and forgets its line. It returns
// the agent that stays because others use it, or nil. Its error is a *backend.Left: then the line stays.
func (m *Manager) Remove(ctx context.Context, key string, t backend.SSHTarget, home string) (*backend.Shared, error) {
	m.forgotten(key, false) // said again
	c, err := m.Conn(ctx, key, t)
	if err != nil {
		tgt, rerr := m.resolve(ctx, t)
		if rerr != nil { // its configuration can't be read: who it is, is what was said
			tgt = &target{ssh: t, host: sshconfig.Host{Alias: t.Host, Hostname: t.Host, User: t.User, Port: t.Port}}
		}
		return nil, m.left(tgt, m.loadPut(tgt), err)
	}
	shared, err := c.removeFor(ctx, home)
	if err != nil {
		return nil, err
	}
	m.forgotten(key, true)
	m.Drop(key)
	return shared, nil
}

// forgotten notes that no line is made any more for an instance, whose figures and terminals somebody may still follow:
// the agent would be put there again.
func (m *Manager) forgotten(key string, yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if yes {
		m.gone[key] = true
	} else {
		delete(m.gone, key)
	}
}

// left says what stays on a host, and how its owner can remove it. p is nil where it is not known what was put there.
func (m *Manager) left(t *target, p *placement, err error) *backend.Left {
	l := &backend.Left{Host: t.where(), Err: err}
	if p != nil {
		l.Path = cmp.Or(p.State, p.Program)
	}
	if p != nil && p.Program != "" {
		l.Command = agentCommand(p.Program, "uninstall "+shellquote.Line(p.uninstallFlags("")...))
	}
	return l
}

// with removes the agent of p by a program. there is false where the program is gone, but not all of the agent.
func (r *removal) with(ctx context.Context, p *placement, program string) (there bool, err error) {
	flags := p.uninstallFlags(r.home)
	if p.found {
		flags = append(flags, "--found")
	}
	out, err := r.c.script(ctx, fmt.Sprintf(removeScript, shellquote.Word(program), agentCommand(program,
		"uninstall "+shellquote.Line(flags...)), shellquote.Word(p.State), shellquote.Word(p.Socket)))
	var failed *scriptError
	if errors.As(err, &failed) {
		return true, api.Errorf(api.CodeFailed, "%s", strings.TrimPrefix(lastLine(out), "berth: agent uninstall: "))
	}
	for line := range strings.Lines(out) {
		var answer api.LeaveAnswer
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &answer) == nil {
			r.share(p, answer.Others)
		}
	}
	return strings.TrimSpace(out) != "absent", err
}

// share notes that an agent stays, because others use it.
func (r *removal) share(p *placement, others []api.HomeUse) {
	l := r.c.m.left(r.c.t, p, nil)
	if r.shared == nil {
		r.shared = &backend.Shared{Others: others, Path: l.Path, Command: l.Command}
		return
	}
	r.shared.Others = append(r.shared.Others, others...)
	r.shared.Path += ", " + l.Path
	r.shared.Command = join(r.shared.Command, l.Command)
}

// join joins commands, of which each may be "".
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// withNew removes the agent of p by a program that is copied to the host for that.
func (r *removal) withNew(ctx context.Context, p *placement) error {
	b, err := r.c.choose(ctx)
	if err != nil {
		return err
	}
	n, l, _, err := r.c.install(ctx, b, "exit 0")
	if err == nil && n == nil {
		err = fmt.Errorf("there is no folder to put its program in: %s", strings.Join(l.no, "; "))
	}
	if err != nil {
		return err
	}
	there, err := r.with(ctx, p, n.Program)
	if err != nil && p.found {
		p.Program = n.Program // it is there still
	}
	if err == nil && !there {
		err = fmt.Errorf("its program was copied to %s and is not there any more", n.Program)
	}
	return err
}

// uninstallFlags name the agent to the program that removes it.
func (p *placement) uninstallFlags(home string) []string {
	flags := []string{"--end"}
	if home != "" {
		flags = append(flags, "--for="+home)
	}
	if p.Socket != "" {
		flags = append(flags, "--socket="+p.Socket)
	}
	if p.State != "" {
		// The scratch folder stands beside it, in the home and elsewhere.
		flags = append(flags, "--state="+p.State, "--scratch="+path.Join(path.Dir(p.State), "scratch"))
	}
	return flags
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
