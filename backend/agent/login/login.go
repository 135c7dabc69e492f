package login

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/agent/root"
	"berth/backend/agent/user"
	"berth/backend/api"
)

// kept are the variables that a login keeps from the process that began it. Everything else belongs
// to whoever happened to start the agent: a virtual environment, a stale SSH_AUTH_SOCK, a tmux.
var kept = []string{"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_DATA_DIRS",
	"LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}

var keptPrefixes = []string{"LC_", "NVIDIA_"}

// Base is the environment that a login shell of this user begins with; of is that of this process.
func Base(o part.Options, of []string) []string {
	var out []string
	for _, kv := range of {
		k, v, ok := strings.Cut(kv, "=")
		prefixed := func(p string) bool { return strings.HasPrefix(k, p) }
		if ok && v != "" && (slices.Contains(kept, k) || slices.ContainsFunc(keptPrefixes, prefixed)) {
			out = append(out, kv)
		}
	}
	if environ.Lookup(out, "PATH") == "" {
		out = append(out, "PATH="+root.DefaultPath)
	}
	name := user.Name()
	return append(out, "HOME="+o.Home, "USER="+name, "LOGNAME="+name, "SHELL="+o.Shell)
}

// Login keeps the newest environment of the user's shell. It is captured at the agent's start, and again
// when somebody asks and a start-up file has changed since.
type Login struct {
	base []string
	ask  func() captured
	home string
	// limit is how long the first one is waited for, and freshWait a newer one.
	limit, freshWait time.Duration

	mu      sync.Mutex
	now     *captured     // nil: the first one is not there yet
	files   stamps        // of the start-up files, from before they were read
	tried   time.Time     // when the last capture ended
	running chan struct{} // closed when the capture under way has ended; nil: there is none
	looking chan struct{} // the same of a look at the files
}

const (
	// freshWait is how long a command waits for the environment after a start-up file has changed: whoever
	// ran `conda init` a moment ago means the new one. Then it takes the newest that is there.
	freshWait = 2 * time.Second
	// glanceWait is how long a command waits for the times of the start-up files: a home on a dead file
	// server must not hold it up.
	glanceWait = 100 * time.Millisecond
	// retryAfter is when a capture that failed is tried again although no file has changed.
	retryAfter = 10 * time.Minute
)

// New begins with the first capture. ctx ends it.
func New(ctx context.Context, o part.Options, base []string, exe string) *Login {
	limit := cmp.Or(o.CaptureLimit, captureLimit)
	l := &Login{base: base, home: o.Home, limit: limit, freshWait: cmp.Or(o.FreshWait, freshWait)}
	l.ask = func() captured { return capture(ctx, o, base, exe, limit) }
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start()
	return l
}

// start captures in the background. l.mu must be held, and no capture under way.
func (l *Login) start() {
	running := make(chan struct{})
	l.running = running
	env := l.base
	if l.now != nil {
		env = l.now.env
	}
	go func() {
		defer close(running) // after l.running is nil
		files := stampsWithin(startFiles(l.home, env))
		c := l.ask()
		c.why = c.info.Error
		for path, s := range stampsWithin(startFiles(l.home, c.env)) {
			if _, ok := files[path]; !ok { // it was named by a start-up file only
				files[path] = s
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if was := l.now; was != nil && c.info.How == api.ShellPlain && was.info.How != api.ShellPlain {
			why := fmt.Sprintf("at %s it could not be captured again: %s", c.info.CapturedAt.Format(time.TimeOnly), c.info.Error)
			c = *was // what was known before is better than nothing
			c.info.Error = why
			if c.why != "" {
				c.info.Error = c.why + "; " + why
			}
		}
		l.now, l.files, l.running, l.tried = &c, files, nil, time.Now()
	}()
}

// Environment returns the newest environment. It waits for the first one, and a short time for one that is
// under way or about to be because a start-up file has changed.
func (l *Login) Environment(ctx context.Context) []string {
	l.mu.Lock()
	limit := l.freshWait
	if l.now == nil {
		limit = l.limit + l.freshWait // it ends by itself by then
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	l.Await(ctx)
	glance := time.NewTimer(glanceWait)
	defer glance.Stop()
	for own, late := false, false; !own && !late; {
		var done <-chan struct{}
		done, own = l.look() // one that began earlier may have missed what changed since
		select {
		case <-done:
			l.Await(ctx)
		case <-glance.C:
			late = true
		case <-ctx.Done():
			late = true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil {
		return l.base
	}
	return l.now.env
}

// Await waits for the capture under way.
func (l *Login) Await(ctx context.Context) {
	l.mu.Lock()
	running := l.running
	l.mu.Unlock()
	if running == nil {
		return
	}
	select {
	case <-running:
	case <-ctx.Done():
	}
}

// look begins a capture if a start-up file has changed. The channel is closed once that is known. own is
// false where another look is under way.
func (l *Login) look() (done chan struct{}, own bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.looking != nil {
		return l.looking, false
	}
	done = make(chan struct{})
	if l.now == nil || l.running != nil {
		close(done)
		return done, true
	}
	l.looking = done
	now, before, tried := l.now, l.files, l.tried
	go func() { // ends when the file system answers
		defer close(done) // after l.looking is nil
		changed := !maps.Equal(before, stampsOf(startFiles(l.home, now.env)))
		l.mu.Lock()
		defer l.mu.Unlock()
		l.looking = nil
		failed := now.info.Error != "" && time.Since(tried) > retryAfter
		if l.now == now && l.running == nil && (changed || failed) {
			l.start()
		}
	}()
	return done, true
}

// Report says in i where the environment comes from, and begins a capture where a start-up file has changed, so
// that what is shown next is of today's files.
func (l *Login) Report(i *api.AgentInfo) {
	i.Environment = l.info()
	_, _ = l.look()
	if w := l.warning(); w != "" {
		i.Warnings = append(i.Warnings, w)
	}
}

// info says where the environment comes from; zero: it is not known yet.
func (l *Login) info() api.ShellEnvironment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil {
		return api.ShellEnvironment{}
	}
	return l.now.info
}

// warning says what is wrong with the environment, as far as it is known yet.
func (l *Login) warning() string {
	i := l.info()
	switch {
	case i.Error == "":
		return ""
	case i.How == api.ShellPlain:
		return fmt.Sprintf("the environment of the login shell %s is unknown, commands run with a plain one: %s",
			i.Shell, i.Error)
	case i.How == api.ShellLogin:
		return fmt.Sprintf("commands run with the environment of %s as a login shell only: %s", i.Shell, i.Error)
	}
	return fmt.Sprintf("commands run with an earlier environment of the login shell %s: %s", i.Shell, i.Error)
}
