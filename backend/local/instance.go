package local

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/agent/supervise"
	"berth/backend/base/atomicfile"
	"berth/backend/base/paths"
)

// instance is the marker in an instance's folder: what delete checks, and all that is known of it.
type instance struct {
	supervise.Marker
	Token     string            `json:"token"`
	Machine   string            `json:"machine_id"` // the host that it belongs to
	Name      string            `json:"name"`
	Size      string            `json:"size"`
	Image     string            `json:"image"`
	Share     string            `json:"share,omitempty"`
	Adopted   bool              `json:"adopted,omitempty"`
	Socket    string            `json:"socket,omitempty"` // of an adopted host's agent
	Tags      map[string]string `json:"tags,omitempty"`
	CreatedAt time.Time         `json:"created_at"`
}

// idOf makes the id of an instance from its token, so that a repeated Create finds the first one
// whatever was lost in between.
func idOf(token string) string {
	sum := sha256.Sum256([]byte("berth local " + token))
	return "l-" + hex.EncodeToString(sum[:6])
}

var validID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^l-[0-9a-f]{12}$`) })

// folder is where the instance's files lie.
func (b *Backend) folder(id string) string { return filepath.Join(b.env.Home.Data, id) }

// homeOf is the instance's home folder.
func (b *Backend) homeOf(id string) string { return filepath.Join(b.folder(id), "home") }

// dir is the folder of the instance's supervisor.
func (b *Backend) dir(id string) supervise.Dir {
	return supervise.Dir(filepath.Join(b.env.Home.State, "local", id))
}

// socket is where the instance's agent listens.
func (b *Backend) socket(id string) string { return filepath.Join(b.env.Home.Run, id+".sock") }

// load reads an instance's marker, following no symlink to its folder.
func (b *Backend) load(id string) (instance, error) {
	var in instance
	path := b.folder(id)
	fi, err := os.Lstat(path)
	if err != nil {
		return in, err
	}
	if !fi.IsDir() {
		return in, fmt.Errorf("%s is not a folder", path)
	}
	err = atomicfile.Read(filepath.Join(path, supervise.MarkerName), &in)
	if errors.Is(err, fs.ErrNotExist) {
		return in, fmt.Errorf("the folder %s has no marker %s", path, supervise.MarkerName)
	}
	if err == nil && in.ID != id {
		err = fmt.Errorf("the marker in %s names instance %.40q", path, in.ID)
	}
	return in, err
}

// lay makes an instance's folder. It appears under its name complete, or not at all.
func (b *Backend) lay(in instance) error {
	path := b.folder(in.ID)
	staging := filepath.Join(b.env.Home.Data, "."+in.ID+".creating")
	if err := os.MkdirAll(b.env.Home.Data, 0o700); err != nil {
		return fmt.Errorf("making the folder for local instances: %w", err)
	}
	if err := os.RemoveAll(staging); err != nil { // of a call that was killed
		return fmt.Errorf("removing what an earlier attempt left: %w", err)
	}
	err := os.Mkdir(staging, 0o700)
	if err == nil && !in.Adopted {
		err = os.Mkdir(filepath.Join(staging, "home"), 0o700)
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Stat(staging, &st)
	}
	if err == nil {
		in.Dev, in.Inode = uint64(st.Dev), st.Ino
		err = atomicfile.Write(filepath.Join(staging, supervise.MarkerName), in)
	}
	if err == nil {
		err = os.Rename(staging, path)
	}
	if err != nil {
		_ = os.RemoveAll(staging)
		return fmt.Errorf("making the instance's folder %s: %w", path, err)
	}
	return atomicfile.SyncDir(b.env.Home.Data)
}

// data is Machine.Data: what must be known when the marker is gone.
type data struct {
	Adopted bool `json:"adopted"`
}

// data is what the workspace keeps and hands back.
func (in instance) data() json.RawMessage {
	if !in.Adopted {
		return nil
	}
	return json.RawMessage(`{"adopted":true}`)
}

// foreign says that an instance belongs to another host that shares the folder, or "".
func (in instance) foreign() string {
	if in.Machine != paths.MachineID() {
		return fmt.Sprintf("it belongs to another host (%s) that shares this folder", in.Machine)
	}
	return ""
}
