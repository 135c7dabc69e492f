package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/agent"
	"berth/backend/api"
	"berth/backend/base/paths"
)

// Adopt implements backend.Adopter: it takes in this very host, with the user's own home. The agent
// is the one that the user has on this host.
func (b *Backend) Adopt(ctx context.Context, spec backend.AdoptSpec) (backend.Machine, error) {
	switch {
	case !spec.Local || spec.Target != "":
		return backend.Machine{}, api.Errorf(api.CodeUsage,
			"the local backend takes in this computer only (adopt --local), not %q", spec.Target)
	case spec.Token == "":
		return backend.Machine{}, api.Errorf(api.CodeUsage, "adopting %q: no token was given", spec.Name)
	}
	if spec.Share != "" {
		if err := checkShare(spec.Share); err != nil {
			return backend.Machine{}, err
		}
	}
	id := idOf(spec.Token)
	unlock, err := b.lock(ctx, id)
	if err != nil {
		return backend.Machine{}, err
	}
	defer unlock()
	in, err := b.load(id)
	if errors.Is(err, fs.ErrNotExist) {
		in = instance{Token: spec.Token, Machine: paths.MachineID(), Name: spec.Name, Share: spec.Share, Adopted: true,
			Tags: spec.Tags, CreatedAt: time.Now().UTC()}
		in.ID = id
		info, serr := b.startHostAgent(ctx, in)
		if serr != nil {
			return backend.Machine{}, serr
		}
		in.Socket = info.Socket
		if err = b.lay(in); err == nil {
			in, err = b.load(id)
		}
	}
	if err != nil {
		return backend.Machine{}, api.Errorf(api.CodeFailed, "adopting %q: %w", spec.Name, err)
	}
	return b.machine(ctx, in, nil), nil
}

// hostAgent are the options of the one agent that the user has on this host for this home.
func (b *Backend) hostAgent(in instance) agent.Options {
	return agent.Options{State: b.env.Home.State + "/agent", Socket: b.env.Home.Run + "/agent.sock",
		Scratch: b.env.Home.State + "/scratch", Share: in.Share}
}

// adoptedOtherwise reports whether this host is taken in under another name too, which needs its agent.
func (b *Backend) adoptedOtherwise(id string) bool {
	entries, err := os.ReadDir(b.env.Home.Data)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.Name() == id || !validID().MatchString(e.Name()) {
			continue
		}
		if in, err := b.load(e.Name()); err == nil && in.Adopted && in.foreign() == "" {
			return true
		}
	}
	return false
}

// removeHostAgent ends the agent of this host, with its terminals, and removes what it put here. It is
// kept from being started again meanwhile.
func (b *Backend) removeHostAgent(ctx context.Context, in instance) error {
	b.mu.Lock()
	b.adopting[in.ID] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.adopting, in.ID)
		b.mu.Unlock()
	}()
	if err := agent.Uninstall(ctx, b.hostAgent(in), true); err != nil {
		return fmt.Errorf("forgetting %q: %w", in.Name, err)
	}
	return nil
}

// removeUnused removes the agent of this host where the marker of the last name for it is gone.
func (b *Backend) removeUnused(ctx context.Context, ref backend.Ref) error {
	var d data
	if len(ref.Data) == 0 || json.Unmarshal(ref.Data, &d) != nil || !d.Adopted {
		return nil
	}
	if b.adoptedOtherwise(ref.ID) || !agent.Lives(b.env.Home.State+"/agent") {
		return nil
	}
	var in instance
	in.ID, in.Name = ref.ID, ref.Name
	return b.removeHostAgent(ctx, in)
}

// startHostAgent makes sure that the user's agent of this host runs.
func (b *Backend) startHostAgent(ctx context.Context, in instance) (api.AgentInfo, error) {
	var info api.AgentInfo
	exe, err := b.env.Executable()
	if err != nil {
		return info, api.Errorf(api.CodeFailed, "finding the program to run as agent of this computer: %w", err)
	}
	o := b.hostAgent(in)
	argv := agent.Command(exe, append([]string{"start", "--replace"}, o.Args()...)...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &info)
	}
	if err != nil {
		if ctx.Err() != nil {
			return info, ctx.Err()
		}
		return info, api.Errorf(api.CodeFailed, "starting the agent of this computer: %w: %s", err,
			strings.TrimSpace(stderr.String()))
	}
	return info, nil
}

// adopted fills in what is particular to the adopted host.
func (b *Backend) adopted(m *backend.Machine, in instance) {
	m.State = api.StateRunning
	m.Line.Socket = in.Socket
	m.Workdir = in.Share
	if m.Workdir == "" {
		m.Workdir = agent.UserHome()
	}
	m.Notes = []string{"It is this computer itself, with your own home: removing it from Berth touches none of your files."}
	c := &m.Capabilities
	c.Start, c.Stop, c.Restart, c.Delete, c.Console = false, false, false, false, false
	c.Why = map[string]string{"assign": notAssignable, "start": whyAdopted, "stop": whyAdopted, "restart": whyAdopted,
		"delete":  "it is this computer itself: removing it only forgets it",
		"console": "this computer has no console log that Berth keeps"}
	b.ensureHostAgent(in)
}

// ensureHostAgent starts the host's agent again, in the background, where it is gone: after a
// reboot without anything that starts it, say.
func (b *Backend) ensureHostAgent(in instance) {
	if in.foreign() != "" || agent.Lives(b.env.Home.State+"/agent") {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.adopting[in.ID] {
		return
	}
	b.adopting[in.ID] = true
	go func() { // ends within agent.Start's own limits
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if _, err := b.startHostAgent(ctx, in); err != nil {
			b.env.Log.Error("the agent of this computer can't be started", "instance", in.Name, "err", err)
		}
		b.mu.Lock()
		delete(b.adopting, in.ID)
		b.mu.Unlock()
	}()
}
