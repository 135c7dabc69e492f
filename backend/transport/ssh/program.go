package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/base/version"
)

// program is a build of the agent on this computer.
type program struct {
	path    string
	name    string // berth-agent or berth
	hash    string
	size    int64
	built   time.Time // when the file was written
	version version.Version
}

// hashes remembers the hash of files by name, size and time: hashing 30 MB takes a moment.
var hashes struct {
	sync.Mutex
	m map[hashKey]string
}

type hashKey struct {
	path string
	size int64
	time time.Time
}

// program returns the agent for a system, as Options.AgentBinary has it.
func (m *Manager) program(ctx context.Context, goos, goarch string) (*program, error) {
	if m.o.AgentBinary == nil {
		return nil, errors.New("this build of Berth brings no agent")
	}
	p, err := m.o.AgentBinary(ctx, goos, goarch)
	if err != nil {
		return nil, err
	}
	return readProgram(p)
}

// Agent is a backend.Env's: the program that an agent put in place would be.
func (m *Manager) Agent(ctx context.Context, goos, goarch string) (backend.AgentProgram, error) {
	p, err := m.program(ctx, goos, goarch)
	if err != nil {
		return backend.AgentProgram{}, err
	}
	out := backend.AgentProgram{Path: p.path, Name: p.name, Hash: p.hash, Built: p.built}
	if p.name == "berth" {
		out.Args = []string{"agent"} // the whole binary
	}
	return out, nil
}

func readProgram(p string) (*program, error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := &program{path: p, name: "berth", size: st.Size(), built: st.ModTime().UTC().Truncate(time.Second)}
	if strings.HasPrefix(filepath.Base(p), "berth-agent") {
		b.name = "berth-agent"
	}
	b.version = version.Current()
	if strings.Contains(b.version.Number, "-dev") {
		b.version.Built = b.built // what the copy will say of itself: its file's time
	}
	key := hashKey{p, b.size, st.ModTime()}
	hashes.Lock()
	b.hash = hashes.m[key]
	hashes.Unlock()
	if b.hash != "" {
		return b, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	b.hash = hex.EncodeToString(h.Sum(nil))
	hashes.Lock()
	defer hashes.Unlock()
	if hashes.m == nil {
		hashes.m = map[hashKey]string{}
	}
	hashes.m[key] = b.hash
	return b, nil
}
