package ssh

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/google/renameio/v2"

	"berth/backend/base/shellquote"
)

// placement is where the agent is on a host. It is kept in the home, so that the next daemon's first
// call costs no look around.
type placement struct {
	Program string `json:"program"` // the agent's program
	Socket  string `json:"socket"`
	State   string `json:"state"` // the agent's folder
	Hash    string `json:"hash"`  // SHA-256 of the program
	ViaExec bool   `json:"via_exec,omitempty"`

	exec  atomic.Bool
	found bool // it was looked for, and may be another home's
}

// viaExec reports that the agent is reached by running its program (`dial`), not by its socket.
func (p *placement) viaExec() bool { return p.exec.Load() }
func (p *placement) setViaExec()   { p.exec.Store(true) }

// command is the script that runs a subcommand of the agent's program.
func (p *placement) command(sub string) string { return agentCommand(p.Program, sub) }

// agentCommand is the script that runs a subcommand of a program: the whole binary takes `agent` first.
func agentCommand(program, sub string) string {
	if strings.HasPrefix(path.Base(program), "berth-agent") {
		return shellquote.Word(program) + " " + sub
	}
	return shellquote.Word(program) + " agent " + sub
}

func (m *Manager) placementFile(t *target) string {
	return filepath.Join(m.o.Home.State, "remote", t.digest()+".json")
}

// loadPlacement returns what is remembered, or nil.
func (m *Manager) loadPlacement(t *target) *placement {
	if p := m.loadPut(t); p != nil && path.IsAbs(p.Socket) {
		return p
	}
	return nil
}

// loadPut is loadPlacement, also of an agent that was put on the host and did not start: it has no socket.
func (m *Manager) loadPut(t *target) *placement {
	b, err := os.ReadFile(m.placementFile(t))
	if err != nil {
		return nil
	}
	p := &placement{}
	if json.Unmarshal(b, p) != nil || !path.IsAbs(p.Program) {
		return nil
	}
	p.exec.Store(p.ViaExec)
	return p
}

// rememberPut remembers an agent that was put on the host and did not start, for who removes it. One that ran before
// is what is to be removed.
func (c *Conn) rememberPut(p *placement, l look) {
	if p == nil || c.m.loadPlacement(c.t) != nil {
		return
	}
	if outside := path.Dir(l.dir); strings.HasPrefix(path.Base(outside), "home-") {
		p.State = path.Join(outside, "agent") // as startScript says
	}
	c.savePlacement(p)
}

// savePlacement remembers p; without it the next first call is slower, no more.
func (c *Conn) savePlacement(p *placement) {
	doc := placement{Program: p.Program, Socket: p.Socket, State: p.State, Hash: p.Hash, ViaExec: p.viaExec()}
	b, err := json.Marshal(&doc)
	if err == nil {
		file := c.m.placementFile(c.t)
		if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
			err = renameio.WriteFile(file, b, 0o600)
		}
	}
	if err != nil {
		c.m.o.Log.Warn("remembering where the agent is", "host", c.t.where(), "error", err)
	}
}

func (c *Conn) forgetPlacement() { _ = os.Remove(c.m.placementFile(c.t)) }
