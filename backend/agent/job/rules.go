package job

import (
	"context"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"berth/backend/agent/job/notify"
	"berth/queue"
)

// ruling knows whether the instance's file has rules of whom others are told. The loop asks it at each end, and never
// waits for a disk: who brings in what may be an end has it look before.
type ruling struct {
	mu   sync.Mutex
	path string
	seen fileMark
	some bool // there are rules, or the file can't be used: then there may be
}

// fileMark tells a file that was changed.
type fileMark struct {
	inode         uint64
	size, written int64
	mode          os.FileMode
}

// lookAt says which file it is.
func (r *ruling) lookAt(path string) {
	r.mu.Lock()
	r.path = path
	r.mu.Unlock()
	r.look()
}

// look reads the file where it was changed.
func (r *ruling) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path == "" {
		return
	}
	var mark fileMark
	fi, err := os.Stat(r.path)
	if err == nil {
		mark = fileMark{size: fi.Size(), written: fi.ModTime().UnixNano(), mode: fi.Mode()}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			mark.inode = st.Ino
		}
	}
	if mark == r.seen && (err == nil || os.IsNotExist(err)) {
		return
	}
	f, err := notify.Load(r.path)
	r.seen, r.some = mark, err != nil || len(f.Rules)+len(f.Wrong) > 0
}

// owe notes with each end among changes that the rules are to be asked whom to tell. It is written with the end.
func (r *ruling) owe(changes []queue.Change, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range changes {
		if c := &changes[i]; r.some && c.Status.State.Done() && !c.ID.Element {
			c.Status.Owed = append(slices.Clip(c.Status.Owed), queue.Owed{Name: queue.ByRule, Next: at})
		}
	}
}

// rule looks up whom the rules name at a job's end, and what is wrong with them.
func (t *teller) rule(ctx context.Context, job queue.Job) (names, wrong []string, err error) {
	f, err := notify.Load(t.path)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range f.Wrong {
		wrong = append(wrong, t.path+", "+w+": it is not used")
	}
	t.complain(wrong)
	v := document(&job)
	return f.Whom(&v), wrong, nil
}

// complain says once what is wrong with the rules.
func (t *teller) complain(wrong []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range wrong {
		if !slices.Contains(t.wrong, w) {
			t.event(w)
		}
	}
	t.wrong = wrong
}
