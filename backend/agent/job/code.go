package job

import (
	"context"
	"sync"
	"time"

	"berth/backend/agent/job/code"
	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/queue"
	"berth/queue/plan"
)

const (
	// startWait is how long the begin of a run waits at most for a look at its code.
	startWait = 2 * time.Second
	// lookShare bounds what looks at one folder take: one after another they are so many times as far apart as they take.
	lookShare = 10
	// keepLooks is how many folders are remembered.
	keepLooks = 100
)

// codes looks at which code jobs' folders have: after a submit was answered, and before a run begins.
type codes struct {
	l    *loop
	look func(ctx context.Context, dir string) *queue.Code
	ctx  context.Context // of the looks
	end  func()
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	looks  map[string]*looking
}

// looking is a look at a folder.
type looking struct {
	began time.Time
	took  time.Duration // 0: it is under way
	done  chan struct{}
	code  *queue.Code // nil: there is none
}

func newCodes(h *part.Host, l *loop) *codes {
	c := &codes{l: l, looks: map[string]*looking{}}
	c.ctx, c.end = context.WithCancel(context.Background()) // it ends with stop
	login := func(ctx context.Context) []string { return h.Environment(ctx, nil, false, "") }
	c.look = func(ctx context.Context, dir string) *queue.Code {
		seen, err := code.Look(ctx, login, dir)
		if err != nil {
			l.log.Debug("the code of a job's folder can't be told", "folder", dir, "error", err)
		}
		return seen
	}
	return c
}

// stop ends all looks.
func (c *codes) stop() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.wg.Wait()
}

// work does something beside, unless stop was called.
func (c *codes) work(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wg.Go(f)
	}
}

// at is a look at a folder that is under way, or new enough, or a new one.
func (c *codes) at(dir string) *looking {
	x, is := c.newest(dir)
	if is {
		return x
	}
	c.work(func() {
		seen := c.look(c.ctx, dir)
		c.mu.Lock()
		x.code, x.took = seen, max(time.Since(x.began), 1)
		c.mu.Unlock()
		close(x.done)
	})
	return x
}

// newest is the look that there is at a folder, or one that is to be done.
func (c *codes) newest(dir string) (x *looking, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.looks[dir]; x != nil && (x.took == 0 || time.Since(x.began) < lookShare*x.took) {
		return x, true
	}
	x = &looking{began: time.Now(), done: make(chan struct{})}
	if len(c.looks) >= keepLooks {
		for d, o := range c.looks {
			if o.took != 0 {
				delete(c.looks, d)
			}
		}
	}
	c.looks[dir] = x
	return x, false
}

// submitted looks at the code of a job that was taken. It returns at once.
func (c *codes) submitted(id queue.ID, dir string) { c.note(id, 0, c.at(dir)) }

// beginning looks at the code of a job whose run is about to begin, and waits for it: the job may change files. Where
// looks take long, most runs find one that is new enough.
func (c *codes) beginning(ctx context.Context, r queue.Run) {
	x := c.at(r.Spec.Workdir)
	sleep(ctx, startWait, x.done)
	select {
	case <-x.done:
		c.note(r.ID, r.Attempt, x)
	default: // it is not known what the job itself has changed meanwhile
	}
}

// note notes what a look has seen, once it has.
func (c *codes) note(id queue.ID, attempt int, x *looking) {
	c.work(func() {
		select {
		case <-x.done:
		case <-c.ctx.Done():
			return
		}
		if x.code == nil {
			return
		}
		if err := c.l.sawCode(c.ctx, id, attempt, x.code); err != nil && c.ctx.Err() == nil {
			c.l.log.Warn("the code of a job is not noted", "job", id.String(), "error", err)
		}
	})
}

// sawCode notes a job's code, also of one that is done already.
func (l *loop) sawCode(ctx context.Context, id queue.ID, attempt int, seen *queue.Code) error {
	_, err := l.do(ctx, &ask{inputs: func(ctx context.Context) ([]plan.Input, error) {
		if _, live := l.plan.Status(id); live {
			return []plan.Input{plan.Looked{ID: id, Attempt: attempt, Code: seen}}, nil
		}
		job, found, err := l.journal.Job(ctx, id)
		if err != nil || !found || !job.State.Done() {
			return nil, err
		}
		var base *queue.Code
		if id.Element {
			array, err := l.job(ctx, id.Array())
			if err != nil {
				return nil, err
			}
			base = array.Code
		}
		if !job.Saw(seen, attempt, base) {
			return nil, nil
		}
		err = l.journal.Commit(ctx, []queue.Change{{ID: id, Status: job.Status}})
		l.tellChanged(err == nil)
		return nil, err
	}})
	return err
}

// codeOf is a job's code as clients see it.
func codeOf(j *queue.Job) *api.JobCode {
	if j.Code == nil {
		return nil
	}
	v := &api.JobCode{Commit: j.Code.Commit, Dirty: j.Code.Dirty}
	if j.Began != nil {
		v.AtStart = &api.JobCodeAtStart{Commit: j.Began.Commit, Dirty: j.Began.Dirty}
	}
	return v
}
