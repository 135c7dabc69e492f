// Package seen keeps how far somebody has seen the queue of each instance, in a file of this computer: what has ended
// since then is marked when they look again.
package seen

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"berth/backend/base/atomicfile"
)

// version is that of the file's format.
const version = 1

// keep is how long an instance is remembered whose queue nobody looks at.
const keep = 365 * 24 * time.Hour

// Mark is a place among the changes of a queue.
type Mark struct {
	Epoch string    `json:"epoch"`
	Seq   int64     `json:"seq"`
	At    time.Time `json:"at"`
}

// File is what was seen. Its methods may be called at once.
type File struct {
	path string // "": it is kept in memory only
	mu   sync.Mutex
	of   map[string]Mark // by the instance's id
	anew map[string]bool // changed since it was written
}

type contents struct {
	Version   int             `json:"version"`
	Instances map[string]Mark `json:"instances"`
}

// Open reads the file; one that is not there yet, or can't be read, has nothing in it.
func Open(path string) *File {
	f := &File{path: path, of: map[string]Mark{}, anew: map[string]bool{}}
	if c, err := read(path); err == nil {
		f.of = c.Instances
	}
	return f
}

func read(path string) (contents, error) {
	c := contents{Version: version, Instances: map[string]Mark{}}
	if path == "" {
		return c, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("reading what was seen of the queues: %w", err)
	}
	return parse(b)
}

func parse(b []byte) (contents, error) {
	var c contents
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("reading what was seen of the queues: %w", err)
	}
	if c.Version != version {
		return c, fmt.Errorf("what was seen of the queues is of version %d, and this Berth knows %d", c.Version, version)
	}
	if c.Instances == nil {
		c.Instances = map[string]Mark{}
	}
	return c, nil
}

// Last is how far the queue of an instance was seen; ok is false where it never was.
func (f *File) Last(instance string) (m Mark, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok = f.of[instance]
	return m, ok
}

// Note says that the queue of an instance was seen up to a change. It goes to the file with Write.
func (f *File) Note(instance string, m Mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of[instance], f.anew[instance] = m, true
}

// Write writes what is new. What other dashboards have written meanwhile stays; a file of a newer Berth is not touched.
func (f *File) Write() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.anew) == 0 || f.path == "" {
		return nil
	}
	c, err := read(f.path)
	if err != nil && c.Version > version {
		return err
	}
	if err != nil {
		c = contents{Version: version, Instances: map[string]Mark{}}
	}
	newest := time.Time{}
	for id := range f.anew {
		m := f.of[id]
		if was := c.Instances[id]; was.Epoch != m.Epoch || was.Seq < m.Seq {
			c.Instances[id] = m
		}
		if m.At.After(newest) {
			newest = m.At
		}
	}
	for id, m := range c.Instances {
		if newest.Sub(m.At) > keep {
			delete(c.Instances, id)
		}
	}
	if err := atomicfile.Write(f.path, c); err != nil {
		return fmt.Errorf("keeping what was seen of the queues: %w", err)
	}
	clear(f.anew)
	return nil
}
