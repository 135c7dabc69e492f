package workspace

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// Create checks the request, writes the instance and its operation, and starts it.
func (w *Workspace) Create(ctx context.Context, q api.CreateRequest) (api.Operation, error) {
	if op, ok := w.repeated(ctx, q.RequestID); ok {
		return op, nil
	}
	if err := CheckName(q.Name); err != nil {
		return api.Operation{}, err
	}
	if q.Backend == "" && q.From != "" {
		if src, err := w.Record(q.From); err == nil {
			q.Backend = src.Backend
		}
	}
	if q.Backend == "" {
		q.Backend = w.opts.Defaults.Backend
	}
	b, err := w.backend(q.Backend)
	if err != nil {
		return api.Operation{}, err
	}
	caps := b.Info().Capabilities
	if !caps.Create {
		return api.Operation{}, api.Errorf(api.CodeUnsupported, "backend %s can't create instances: %s", q.Backend, orElse(caps.Why["create"], "it has nothing to create them with")).
			WithHint("berth adopt %s user@host takes in a machine that exists", q.Name)
	}
	if q.For != "" && !caps.Assign {
		return api.Operation{}, api.Errorf(api.CodeUnsupported, "backend %s can't assign an instance to somebody else (--for %s)", q.Backend, q.For)
	}
	if err := honoured(&q, &caps); err != nil {
		return api.Operation{}, err
	}
	profiled, err := w.profiled(q.Profiles, &caps, q.Backend)
	if err != nil {
		return api.Operation{}, err
	}
	from, has, err := w.cloned(ctx, &q)
	if err != nil {
		return api.Operation{}, err
	}
	size, err := w.chooseSize(ctx, b, &q)
	if err != nil {
		return api.Operation{}, err
	}
	if from == nil {
		if has, err = w.chooseImage(ctx, b, &q); err != nil {
			return api.Operation{}, err
		}
	}
	me := w.whoamiOf(ctx, q.Backend, b)
	opID := operationID(q.RequestID)
	now := w.now().UTC()
	tags := map[string]string{}
	maps.Copy(tags, q.Tags)
	tags[backend.TagWorkspace], tags[backend.TagHome], tags[backend.TagOp] = w.id, w.homeID, opID
	tags[backend.TagOwner], tags[backend.TagCreated] = me, now.Format("20060102T150405Z")
	ssh := q.SSH != nil && *q.SSH
	rec := store.Instance{
		Instance: api.Instance{Name: q.Name, ID: newID("i-"), Backend: q.Backend, Size: q.Size, Image: q.Image, Region: q.Region, Owner: me, AssignedTo: q.For,
			CreatedAt: now, SSHEnabled: ssh, GPUs: size.GPUs, VCPUs: size.VCPUs, MemoryBytes: size.MemoryBytes, DiskBytes: cmp.Or(q.DiskBytes, size.DiskBytes),
			PriceUSDPerHour: size.PriceUSD, RunningUSDPerHour: size.PriceUSD, Tags: tags, Capabilities: caps, Subnet: q.Subnet, Profiles: has},
		Token: opID,
		Spec: &backend.Spec{Token: opID, Name: q.Name, Size: q.Size, Image: q.Image, Region: q.Region, DiskBytes: q.DiskBytes, SSH: ssh,
			Setup: q.Setup, OnStart: q.OnStart, Profiles: q.Profiles, AssignTo: q.For, Share: q.Share, Subnet: q.Subnet, PublicIP: q.PublicIP, From: from, Tags: tags},
	}
	if size.PriceUSD != nil && *size.PriceUSD == 0 {
		rec.StoppedUSDPerHour = size.PriceUSD // this host costs nothing either way
	}
	if p, ok := b.(backend.Planner); ok {
		if rec.Spec.Plan, err = within(ctx, w, "create of "+q.Name, func(ctx context.Context) (json.RawMessage, error) { return p.Plan(ctx, *rec.Spec) }); err != nil {
			return api.Operation{}, err
		}
	}
	if err := w.validate(ctx, b, rec.Spec); err != nil {
		return api.Operation{}, err
	}
	w.setState(&rec, api.StateCreating, "")
	return w.beginNew(ctx, rec, store.Operation{Operation: api.Operation{ID: opID, Kind: opCreate}, Create: &q, Profiled: profiled})
}

// validate refuses what could only fail, before anything is written down. What keeps it from being known is left to
// the operation, which tries again.
func (w *Workspace) validate(ctx context.Context, b backend.Backend, spec *backend.Spec) error {
	if err := w.checkKeys(ctx, b, spec); err != nil {
		return err
	}
	v, ok := b.(backend.Validator)
	if !ok {
		return nil
	}
	_, err := within(ctx, w, "create of "+spec.Name, func(ctx context.Context) (struct{}, error) { return struct{}{}, v.Validate(ctx, *spec) })
	if err == nil {
		return nil
	}
	switch api.AsError(err).Code {
	case api.CodeUsage, api.CodeUnsupported, api.CodeCapacity, api.CodeNotFound, api.CodeRefused, api.CodeConflict:
		return err
	}
	w.log.Warn("looking whether it can be made", "instance", spec.Name, "error", err)
	return nil
}

// cloned is the machine whose disk a new instance copies, if it clones one, and the profiles that are on
// it already. What the request leaves open is as it is there.
func (w *Workspace) cloned(ctx context.Context, q *api.CreateRequest) (from *backend.Ref, has []string, err error) {
	if q.From == "" {
		return nil, nil, nil
	}
	in, err := w.Refresh(ctx, q.From)
	if err != nil {
		return nil, nil, err
	}
	src, err := w.Record(in.ID)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case src.Backend != q.Backend:
		return nil, nil, api.Errorf(api.CodeUsage, "%s is an instance of backend %s: a clone of it can't be made on %s", src.Name, src.Backend, q.Backend)
	case q.Image != "":
		return nil, nil, api.Errorf(api.CodeUsage, "a clone has the disk of %s: it takes no image", src.Name)
	case src.State != api.StateStopped:
		return nil, nil, api.Errorf(api.CodeRefused, "%s is %s: its disk can be copied whole only while it is stopped", src.Name, src.State).WithHint("berth stop %s", src.Name)
	}
	if err := capable(src.Capabilities.Clone && !src.Adopted, &src, "cloned", "clone"); err != nil {
		return nil, nil, err
	}
	if q.Size == "" {
		q.Size = src.Size
	}
	q.Image = src.Image
	asThere(q, &src)
	r := ref(&src)
	return &r, src.Profiles, nil
}

// asThere completes the request for a clone by what the instance that it copies was made with.
func asThere(q *api.CreateRequest, src *store.Instance) {
	if q.SSH == nil && src.Capabilities.SSH {
		ssh := src.SSHEnabled
		q.SSH = &ssh
	}
	q.Subnet = cmp.Or(q.Subnet, src.Subnet)
	if src.Spec != nil {
		q.OnStart, q.Share = cmp.Or(q.OnStart, src.Spec.OnStart), cmp.Or(q.Share, src.Spec.Share)
	}
	tags := map[string]string{}
	for k, v := range src.Tags {
		if !strings.HasPrefix(strings.ToLower(k), backend.OwnTags) {
			tags[k] = v
		}
	}
	maps.Copy(tags, q.Tags)
	q.Tags = tags
}

// repeated returns the operation of a request that came before; the answer to it was lost.
func (w *Workspace) repeated(ctx context.Context, requestID string) (api.Operation, bool) {
	if requestID == "" {
		return api.Operation{}, false
	}
	op, err := w.Operation(ctx, requestID)
	return op, err == nil
}

// operationID is the id of a new operation: that of its request, which lets it be repeated.
func operationID(requestID string) string {
	if requestID != "" {
		return requestID
	}
	return newID("op-")
}

// beginNew begins the operation that brings a new instance, if its name is free.
func (w *Workspace) beginNew(ctx context.Context, rec store.Instance, op store.Operation) (api.Operation, error) {
	r, done, err := w.reserve(ctx, rec.Name, op.ID)
	if err != nil {
		return api.Operation{}, err
	}
	if r != nil {
		return r.Snapshot(), nil // repeated at the same moment
	}
	defer done()
	return w.begin(ctx, rec, op)
}

// reserve keeps a name for an instance until done is called: while that is on its way into the store, who wants the
// same name waits, as does who repeats the same request; r is its operation then.
func (w *Workspace) reserve(ctx context.Context, name, opID string) (r *operation.Run, done func(), err error) {
	key := strings.ToLower(name)
	try := func() (other *arrival, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if r = w.operations.Get(opID); r != nil {
			return nil, nil
		}
		for n, a := range w.arriving {
			if n == key || a.opID == opID {
				return a, nil
			}
		}
		if err := w.nameFree(name); err != nil {
			return nil, err
		}
		w.arriving[key] = &arrival{opID: opID, done: make(chan struct{})}
		return nil, nil
	}
	for {
		other, err := try()
		switch {
		case err != nil || r != nil:
			return r, nil, err
		case other == nil:
			return nil, func() { w.arrived(key) }, nil
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// arrived gives up a reserved name: its instance is in the store, or will not be.
func (w *Workspace) arrived(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.arriving[key].done)
	delete(w.arriving, key)
}

// honoured refuses what the backend would silently leave out.
func honoured(q *api.CreateRequest, caps *api.Capabilities) error {
	for _, c := range []struct {
		asked, can bool
		what, name string
	}{
		{q.Region != "", caps.Regions, "a region", "regions"},
		{q.DiskBytes != 0, caps.Disk, "a disk size", "disk"},
		{q.SSH != nil && *q.SSH, caps.SSH, "SSH that is open to others", "ssh"},
		{q.Subnet != "", caps.Subnets, "a subnet", "subnets"},
		{q.PublicIP, caps.PublicIP, "a public address", "public_ip"},
	} {
		if c.asked && !c.can {
			return api.Errorf(api.CodeUnsupported, "backend %s takes no choice of %s: %s", q.Backend, c.what, orElse(caps.Why[c.name], "it has none"))
		}
	}
	for k := range q.Tags {
		if strings.HasPrefix(strings.ToLower(k), backend.OwnTags) {
			return api.Errorf(api.CodeUsage, "the tag %q is not yours to set: tags that begin with berth- are Berth's own", k)
		}
	}
	return nil
}

func (w *Workspace) chooseSize(ctx context.Context, b backend.Backend, q *api.CreateRequest) (api.Size, error) {
	sizes, err := within(ctx, w, "backend "+q.Backend, b.Sizes)
	if err != nil {
		return api.Size{}, fmt.Errorf("listing the sizes of %s: %w", q.Backend, err)
	}
	if q.Size == "" && q.Backend == w.opts.Defaults.Backend {
		q.Size = w.opts.Defaults.Size
	}
	var names []string
	for _, s := range sizes {
		if s.Name == q.Size || (q.Size == "" && s.Default) {
			q.Size = s.Name
			return s, nil
		}
		names = append(names, s.Name)
	}
	return api.Size{}, api.Errorf(api.CodeUsage, "backend %s has no size %q that it could give now", q.Backend, q.Size).
		WithHint("its sizes: %s; berth doctor says what it lacks (GPUs, say)", strings.Join(names, ", "))
}

// chooseImage completes the request by its image and returns the profiles that the image has.
func (w *Workspace) chooseImage(ctx context.Context, b backend.Backend, q *api.CreateRequest) ([]string, error) {
	images, err := within(ctx, w, "backend "+q.Backend, b.Images)
	if err != nil {
		return nil, fmt.Errorf("listing the images of %s: %w", q.Backend, err)
	}
	if q.Image == "" && q.Backend == w.opts.Defaults.Backend {
		q.Image = w.opts.Defaults.Image
	}
	var names []string
	for _, im := range images {
		if im.Name == q.Image || (q.Image == "" && im.Default) {
			q.Image = im.Name
			return im.Profiles, nil
		}
		names = append(names, im.Name)
	}
	return nil, api.Errorf(api.CodeUsage, "backend %s has no image %q", q.Backend, q.Image).WithHint("its images: %s", strings.Join(names, ", "))
}

// Adopt takes in a machine that exists.
func (w *Workspace) Adopt(ctx context.Context, q api.AdoptRequest) (api.Operation, error) {
	if op, ok := w.repeated(ctx, q.RequestID); ok {
		return op, nil
	}
	if err := CheckName(q.Name); err != nil {
		return api.Operation{}, err
	}
	if q.Local == (q.Target != "") {
		return api.Operation{}, api.Errorf(api.CodeUsage, "adopt takes either user@host[:port] or --local")
	}
	name := "ssh"
	if q.Local {
		name = "local"
	}
	b, err := w.backend(name)
	if err != nil {
		return api.Operation{}, err
	}
	if err := w.hostAdopted(q.Local); err != nil {
		return api.Operation{}, err
	}
	me := w.whoamiOf(ctx, name, b)
	opID := operationID(q.RequestID)
	rec := store.Instance{
		Instance: api.Instance{Name: q.Name, ID: newID("i-"), Backend: name, Owner: me, Adopted: true, CreatedAt: w.now().UTC(), Tags: q.Tags, Capabilities: b.Info().Capabilities},
		Token:    opID, Share: q.Share,
	}
	w.setState(&rec, api.StateCreating, "")
	return w.beginNew(ctx, rec, store.Operation{Operation: api.Operation{ID: opID, Kind: opAdopt}, Adopt: &q})
}

// hostAdopted refuses to take in this very host a second time, before anything is done.
func (w *Workspace) hostAdopted(local bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		if local && e.rec.Adopted && e.rec.Line.Socket != "" {
			return api.Errorf(api.CodeConflict, "this computer is in the fleet already, as %q", e.rec.Name)
		}
	}
	return nil
}

// transitions say, for each action, the state shown while it runs and the states in which there is
// nothing to do.
var transitions = map[string]struct {
	during api.State
	noop   []api.State
}{
	opStart:   {api.StateStarting, []api.State{api.StateRunning}},
	opStop:    {api.StateStopping, []api.State{api.StateStopped}},
	opRestart: {api.StateRestarting, nil},
	opDelete:  {api.StateDeleting, nil},
}

// Action starts, stops, restarts or deletes an instance. Asked for what is under way already it
// returns that operation; asked for what is so already it returns a done one.
func (w *Workspace) Action(ctx context.Context, name, kind string, q api.ActionRequest) (api.Operation, error) {
	tr, ok := transitions[kind]
	if !ok {
		return api.Operation{}, api.Errorf(api.CodeUsage, "there is no action %q: start, stop, restart, delete", kind)
	}
	for asked := false; ; {
		var ends *operation.Run // what is under way and is ended for this
		var look string         // the instance at which is looked first
		op, err := w.claimed(name, func(e *entry) (api.Operation, error) {
			now := w.look(e)
			if err := allowed(&now.rec, kind); err != nil {
				return api.Operation{}, err
			}
			switch cur := now.run; {
			case cur != nil && cur.Kind == kind:
				return cur.Snapshot(), nil
			case cur != nil && !w.operations.Supersedes(kind, cur.Kind):
				return api.Operation{}, api.Errorf(api.CodeConflict, "%s of %s is under way since %s", cur.Kind, now.rec.Name, since(cur)).
					WithHint("wait for it (berth show %s), or delete the instance", now.rec.Name)
			case cur != nil:
				ends = cur
				return api.Operation{}, nil
			case !asked && slices.Contains(tr.noop, now.rec.State):
				// Nothing to do, by what was last seen: it may have been started elsewhere since, and be billed.
				look = now.rec.ID
				return api.Operation{}, nil
			}
			return w.act(ctx, now.rec, kind, tr.during, tr.noop, q)
		})
		switch {
		case err == nil && ends != nil:
			err = ends.GiveUp(ctx, kind)
		case err == nil && look != "":
			w.observe(ctx, look, nil, true)
			asked = true
		default:
			return op, err
		}
		if err != nil {
			return api.Operation{}, err
		}
	}
}

// claimed calls f with the turn of the instance of that name.
func (w *Workspace) claimed(name string, f func(e *entry) (api.Operation, error)) (api.Operation, error) {
	e, release, err := w.claim(name)
	if err != nil {
		return api.Operation{}, err
	}
	defer release()
	return f(e)
}

// since says when an operation began.
func since(r *operation.Run) string { return r.Snapshot().CreatedAt.Local().Format("15:04:05") }

// act begins an action on an instance with nothing under way, whose turn must be held.
func (w *Workspace) act(ctx context.Context, rec store.Instance, kind string, during api.State, noop []api.State,
	q api.ActionRequest) (api.Operation, error) {
	if slices.Contains(noop, rec.State) {
		return w.doneAtOnce(ctx, &rec, store.Operation{Operation: api.Operation{ID: newID("op-"), Kind: kind}}, &store.Change{}, nil)
	}
	if rec.State == api.StateStopped && kind == opRestart {
		return api.Operation{}, api.Errorf(api.CodeConflict, "%s is stopped", rec.Name).WithHint("berth start %s", rec.Name)
	}
	if rec.State == api.StateCreateFailed && kind != opDelete {
		return api.Operation{}, neverMade(&rec)
	}
	w.setState(&rec, during, "")
	rec.Unreached = ""
	return w.begin(ctx, rec, store.Operation{Operation: api.Operation{ID: newID("op-"), Kind: kind}, Force: q.Force})
}

// doneAtOnce stores an operation that has ended already, with c; then is called when it is shown.
func (w *Workspace) doneAtOnce(ctx context.Context, rec *store.Instance, op store.Operation, c *store.Change, then func()) (api.Operation, error) {
	now := w.now().UTC()
	op.InstanceID, op.Instance, op.Actor = rec.ID, rec.Name, backend.CallerFrom(ctx).Actor
	op.State, op.CreatedAt, op.EndedAt, op.Steps = api.OpSucceeded, now, &now, []api.Step{}
	c.Operations = append(c.Operations, op)
	return op.Operation, w.commit(c, then)
}

func neverMade(rec *store.Instance) error {
	return api.Errorf(api.CodeConflict, "%s was never made: %s", rec.Name, rec.StateReason).WithHint("berth rm %s, then create it again", rec.Name)
}

// allowed says, before anything is tried, whether the instance can do it.
func allowed(rec *store.Instance, kind string) error {
	c := rec.Capabilities
	can := map[string]bool{opStart: c.Start, opStop: c.Stop, opRestart: c.Restart, opDelete: true}[kind]
	if can {
		return nil
	}
	why := c.Why[kind]
	if why == "" && rec.Adopted {
		why = "it was adopted; Berth did not make it"
	}
	return api.Errorf(api.CodeUnsupported, "%s can't %s: %s", rec.Name, kind, orElse(why, "its backend has no such call"))
}

// whoamiOf returns who the backend acts for, asking it once.
func (w *Workspace) whoamiOf(ctx context.Context, name string, b backend.Backend) string {
	w.mu.Lock()
	me, ok := w.whoami[name]
	w.mu.Unlock()
	if ok {
		return me
	}
	me, err := within(ctx, w, "backend "+name, b.Whoami)
	if err != nil {
		w.log.Warn("asking a backend who it acts for", "backend", name, "error", err)
		return ""
	}
	w.mu.Lock()
	w.whoami[name] = me
	w.mu.Unlock()
	return me
}

// MayOpen says whether the caller may open shells and apps on the instance: where it is assigned to
// another person only that person may.
func (w *Workspace) MayOpen(rec *store.Instance) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	me := w.whoami[rec.Backend]
	if rec.AssignedTo == "" || rec.AssignedTo == me {
		return nil
	}
	if me == "" { // not known is not allowed
		return api.Errorf(api.CodeForbidden, "%s is assigned to %s, and backend %s does not say who you are", rec.Name, rec.AssignedTo, rec.Backend).WithHint("berth doctor")
	}
	return api.Errorf(api.CodeForbidden, "%s is assigned to %s: only they may open a shell there", rec.Name, rec.AssignedTo)
}
