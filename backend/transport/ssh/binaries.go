package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend/base/paths"
)

// Binaries finds the program that is copied to instances, in this order: Embedded; this executable,
// where system and architecture are the same and it needs no C library; a build of the agent by the
// go tool, where the sources of this build are at hand; this executable although it needs a C library,
// which the host may have. What was found is kept. It is safe for concurrent use.
type Binaries struct {
	Home paths.Home
	// Embedded returns the agent that this build carries for a system, as a file; ok is false where
	// it carries none. It may be nil.
	Embedded func(ctx context.Context, goos, goarch string) (path string, ok bool, err error)
	// Executable returns a copy of this program that no upgrade deletes. It may be nil.
	Executable func() (string, error)
	// Sources is the module's folder; "" for where this program was compiled.
	Sources string

	mu    sync.Mutex // one search at a time
	found map[string]string
}

// Find is an Options.AgentBinary.
func (b *Binaries) Find(ctx context.Context, goos, goarch string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := goos + "/" + goarch
	if p := b.found[key]; p != "" {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	p, err := b.find(ctx, goos, goarch)
	if err == nil {
		if b.found == nil {
			b.found = map[string]string{}
		}
		b.found[key] = p
	}
	return p, err
}

func (b *Binaries) find(ctx context.Context, goos, goarch string) (string, error) {
	var no []string
	if b.Embedded != nil {
		p, ok, err := b.Embedded(ctx, goos, goarch)
		switch {
		case err != nil:
			no = append(no, fmt.Sprintf("the agent that this build carries can't be unpacked: %v", err))
		case ok:
			return p, nil
		default:
			no = append(no, "this build carries no agent for it")
		}
	} else {
		no = append(no, "this build carries no agents")
	}
	self, static, err := b.self(goos, goarch)
	if static {
		return self, nil
	}
	if err != nil {
		no = append(no, err.Error())
	}
	p, err := b.build(ctx, goos, goarch)
	switch {
	case err == nil:
		return p, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case self != "":
		return self, nil
	}
	no = append(no, err.Error())
	return "", fmt.Errorf("there is no agent for %s/%s: %s", goos, goarch, strings.Join(no, "; "))
}

// self returns this executable if it is for such a host. One that is linked to a C library (static
// is false) runs only where a similar one is, which can't be known from here.
func (b *Binaries) self(goos, goarch string) (p string, static bool, err error) {
	if goos != runtime.GOOS || goarch != runtime.GOARCH {
		return "", false, fmt.Errorf("this program is for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	find := b.Executable
	if find == nil {
		find = os.Executable
	}
	if p, err = find(); err != nil {
		return "", false, fmt.Errorf("this program can't be found: %w", err)
	}
	if goos != "linux" {
		return p, true, nil
	}
	if static, err = isStatic(p); err != nil {
		return "", false, fmt.Errorf("this program can't be read: %w", err)
	}
	return p, static, nil
}

// build makes the agent with the go tool, once for each state of the sources.
func (b *Binaries) build(ctx context.Context, goos, goarch string) (string, error) {
	root, err := b.root()
	if err != nil {
		return "", err
	}
	gotool, err := exec.LookPath("go")
	if err != nil {
		return "", errors.New("there is no go tool to build it with")
	}
	dir := filepath.Join(b.Home.State, "agents", goos+"-"+goarch)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making a folder for it: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "berth-agent")
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	// The go tool's own cache makes an unchanged build quick.
	cmd := exec.CommandContext(ctx, gotool, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out,
		"./cmd/berth-agent")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOFLAGS=-mod=readonly")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building it in %s failed: %s", root, lastLine(string(text)+"\n"+err.Error()))
	}
	content, err := os.ReadFile(out)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	final := filepath.Join(dir, hex.EncodeToString(sum[:]), "berth-agent")
	if _, err := os.Stat(final); err == nil {
		return final, nil // the same content keeps its first time of writing, by which builds are ordered
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o700); err != nil {
		return "", err
	}
	return final, os.Rename(out, final)
}

// root finds the module's folder. It is never looked for around the working directory: what is built
// there runs on other machines.
func (b *Binaries) root() (string, error) {
	dir := b.Sources
	if dir == "" {
		_, file, _, ok := runtime.Caller(0)
		if !ok || !filepath.IsAbs(file) {
			return "", errors.New("the sources to build it from are not at hand (this build does not know them)")
		}
		dir = filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(file)))) // of backend/transport/ssh/binaries.go
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !slices.Contains(strings.Split(string(mod), "\n"), "module berth") {
		return "", fmt.Errorf("the sources to build it from are not at hand (they were in %s)", dir)
	}
	return dir, nil
}
