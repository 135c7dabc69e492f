package ssh

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// signalNumbers are the numbers of the signals that SSH can name (RFC 4254, 6.10), as on Linux.
var signalNumbers = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10, "SEGV": 11,
	"USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15,
}

// killLimit is how long sending a signal may take.
const killLimit = 10 * time.Second

// signaller sends signals to a served process: by SSH's own request where the server carries it out,
// else by kill in a second session. OpenSSH does not signal the processes of root (it says that this
// "requires privilege separation"), and ssh's command line has no way to ask.
type signaller struct {
	e    *served
	wg   sync.WaitGroup
	mu   sync.Mutex
	pid  int
	uid  int
	done bool     // pid is known, or never will be
	held []string // came before that
	over bool     // the process has ended
}

func (g *signaller) init(e *served) {
	g.e = e
	g.done = e.mark == ""
	g.uid = -1
}

// known takes what stood on the mark's line: the numbers of the process and of its user.
func (g *signaller) known(line string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := strings.Fields(line); len(f) == 2 {
		if pid, err := strconv.Atoi(f[0]); err == nil && pid > 1 {
			g.pid = pid
			g.uid, _ = strconv.Atoi(f[1])
		}
	}
	g.done = true
	for _, name := range g.held {
		g.deliver(name)
	}
	g.held = nil
}

func (g *signaller) send(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.done {
		g.held = append(g.held, name)
		return
	}
	g.deliver(name)
}

// deliver sends a signal; g.mu is held.
func (g *signaller) deliver(name string) {
	if g.over {
		return
	}
	if g.pid == 0 || (g.e.p.signal != nil && g.uid != 0) {
		if g.e.p.signal != nil {
			_ = g.e.p.signal(name) // servers that can't say nothing
		}
		return
	}
	// sshd makes the command the leader of a process group.
	script := fmt.Sprintf("kill -s %[1]s -- -%[2]d 2>/dev/null || kill -s %[1]s %[2]d", name, g.pid)
	g.wg.Go(func() {
		ctx, cancel := context.WithTimeout(g.e.c.ctx, killLimit)
		defer cancel()
		if _, err := g.e.c.script(ctx, script); err != nil && ctx.Err() == nil {
			g.e.c.m.o.Log.Debug("sending a signal", "host", g.e.c.t.where(), "signal", name, "error", err)
		}
	})
}

// end waits for signals that are on their way; none is sent from then on.
func (g *signaller) end() {
	g.mu.Lock()
	g.over = true
	g.mu.Unlock()
	g.wg.Wait()
}
