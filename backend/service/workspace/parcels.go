package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/service/store"
	"berth/backend/transport/filecopy"
	"berth/queue"
)

// A parcel is the folder of a job that is kept (--sync): a copy that is taken at the submit, below Options.Parcels
// under the letter's UUID. It is complete under that name, is sent before the job is handed over, and goes with its
// letter. A name of its own has what is coming.

// parcelAhead is how long a parcel may be there before its letter is.
const parcelAhead = 24 * time.Hour

// coming ends the name of a parcel that is not complete.
const coming = ".coming"

// parcel is one in memory. It is guarded by Workspace.mu.
type parcel struct {
	since  time.Time
	busy   chan struct{} // closed when it is complete, or has failed; nil: it is complete
	letter bool          // it had one
}

// loadParcels finds the parcels that an earlier daemon left; what was coming then never will. The letters are loaded.
func (o Outbox) loadParcels() {
	w := o.w
	w.parcels = map[string]*parcel{}
	entries, err := os.ReadDir(w.opts.Parcels)
	if w.opts.Parcels == "" || err != nil && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		w.log.Error("the folders of jobs that wait can't be looked at", "error", err)
	}
	for _, e := range entries {
		fi, err := e.Info()
		if strings.HasSuffix(e.Name(), coming) {
			o.removeParcel(e.Name())
		} else if err == nil && queue.IsUUID(e.Name()) {
			w.parcels[e.Name()] = &parcel{since: fi.ModTime()}
		}
	}
	for _, e := range w.entries {
		for _, l := range e.post.letters {
			if p := w.parcels[l.Job.UUID]; p != nil {
				p.letter = true
			}
		}
	}
	o.sweep()
}

// Parcels reports whether there are folders of jobs that are kept, or will be.
func (o Outbox) Parcels() bool {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return len(o.w.parcels) > 0
}

// TakeParcel takes the folder of the job that is to be submitted with a UUID from a stream, which it closes. What goes
// wrong is told the other side.
func (o Outbox) TakeParcel(ctx context.Context, name, uuid string, st *api.Stream) error {
	w := o.w
	if w.opts.Parcels == "" || !queue.IsUUID(uuid) {
		err := api.Errorf(api.CodeUsage, "%.40q is no UUID of a job whose folder can be kept", uuid)
		st.Fail(err)
		return err
	}
	o.sweep()
	w.mu.Lock()
	_, l, err := o.find(name, uuid)
	if p := w.parcels[uuid]; l != nil || p != nil && p.busy != nil {
		err = api.Errorf(api.CodeConflict, "job %s was submitted already, or its folder is being sent", uuid)
	} else if errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
		if _, err = w.find(name); err == nil {
			w.parcels[uuid] = &parcel{since: w.now(), busy: make(chan struct{})}
		}
	}
	w.mu.Unlock()
	if err != nil {
		st.Fail(err)
		return err
	}
	dir := filepath.Join(w.opts.Parcels, uuid)
	err = o.receive(ctx, dir, st)
	w.mu.Lock()
	p := w.parcels[uuid]
	close(p.busy)
	if p.busy = nil; err != nil {
		delete(w.parcels, uuid)
	}
	w.mu.Unlock()
	if err != nil {
		o.removeParcel(uuid + coming)
		return err
	}
	w.opts.Fault(pointParcel)
	return nil
}

// receive takes a folder from a stream.
func (o Outbox) receive(ctx context.Context, dir string, st *api.Stream) error {
	err := os.MkdirAll(filepath.Dir(dir), 0o700)
	if err == nil {
		err = errors.Join(os.RemoveAll(dir+coming), os.RemoveAll(dir)) // of a try that broke off
	}
	if err != nil {
		st.Fail(err)
		return err
	}
	r := filecopy.Receiver{Target: dir + coming, Contents: true, Update: true}
	res, err := r.Receive(ctx, st)
	if err == nil && res.Problems > 0 {
		err = errors.New("not all of the folder was sent")
	}
	if err == nil {
		err = os.Rename(dir+coming, dir)
	}
	return err
}

// parcelFor waits until the parcel of a job is complete, and reports whether there is one.
func (o Outbox) parcelFor(ctx context.Context, uuid string) (bool, error) {
	for {
		o.w.mu.Lock()
		p := o.w.parcels[uuid]
		var busy chan struct{}
		if p != nil {
			busy = p.busy
		}
		o.w.mu.Unlock()
		if busy == nil {
			return p != nil, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// lettered notes that the parcel of a job has its letter.
func (o Outbox) lettered(uuid string) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if p := o.w.parcels[uuid]; p != nil {
		p.letter = true
	}
}

// sweep removes the parcels that nobody waits for any more: those of letters that are done or gone, with their
// instances say, and those that never had one.
func (o Outbox) sweep() {
	w := o.w
	w.mu.Lock()
	if len(w.parcels) == 0 { // as at the end of most letters
		w.mu.Unlock()
		return
	}
	waits := map[string]bool{}
	for _, e := range w.entries {
		for _, l := range e.post.letters {
			waits[l.Job.UUID] = waits[l.Job.UUID] || !l.State.Done()
		}
	}
	var over []string
	for uuid, p := range w.parcels {
		if p.busy == nil && !waits[uuid] && (p.letter || w.now().Sub(p.since) > parcelAhead) {
			over = append(over, uuid)
			delete(w.parcels, uuid)
		}
	}
	w.mu.Unlock()
	for _, uuid := range over {
		o.removeParcel(uuid)
	}
}

func (o Outbox) removeParcel(name string) {
	if err := os.RemoveAll(filepath.Join(o.w.opts.Parcels, name)); err != nil {
		o.w.log.Warn("the folder of a job that waits no more is not removed", "folder", name, "error", err)
	}
}

// bring sends the parcel of a letter to its instance, where the job gets it for its own. One that may have been handed
// over is asked for first: a job that has its folder gets no other one.
func (o Outbox) bring(ctx context.Context, rec *store.Instance, l *letter) error {
	uuid := l.Job.UUID
	client := o.w.AgentClient(*rec)
	defer client.Close()
	client.Home = api.NewHome(o.w.homeID, l.From.Name)
	if l.Offered {
		if err := o.known(ctx, client, uuid); !errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
			return err
		}
	}
	if there, err := o.parcelFor(ctx, uuid); err != nil || !there {
		return errors.Join(err, api.Errorf(api.CodeNotFound, "the folder that was kept for it is gone"))
	}
	sum := sha256.Sum256([]byte("outbox\x00" + o.w.homeID + "\x00" + uuid))
	key := hex.EncodeToString(sum[:16])
	whole := ctx
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	o.cuts(l, cut)
	defer o.cuts(l, nil)
	st, err := client.OpenCopy(ctx, api.CopyRequest{Sent: key, Contents: true, Update: true})
	if err != nil {
		return err
	}
	problem := ""
	s := filecopy.Sender{Common: filecopy.Common{Peer: rec.Name, Problem: func(text string) { problem = text }},
		Source: filepath.Join(o.w.opts.Parcels, uuid) + "/."}
	r, err := s.Send(ctx, st)
	switch {
	case err != nil:
		return err
	case r.Problems > 0:
		return errors.New("sending its folder: " + problem)
	}
	ctx, cancel := context.WithTimeout(whole, handLimit)
	defer cancel()
	_, err = client.Take(ctx, api.TakeRequest{Sent: key, UUID: uuid, Move: true})
	return err
}

// cuts notes how the sending of a letter's folder is ended.
func (o Outbox) cuts(l *letter, cut func()) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	l.cut = cut
}

// known returns nil where the agent has the job of a UUID.
func (o Outbox) known(ctx context.Context, client *api.AgentClient, uuid string) error {
	ctx, cancel := context.WithTimeout(ctx, handLimit)
	defer cancel()
	_, err := client.Jobs().Get(ctx, uuid)
	return err
}
