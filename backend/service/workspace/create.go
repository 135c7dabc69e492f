package workspace

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// Create checks the request, writes the instance and its operation, and starts it.
func (w *Workspace) Create(ctx context.Context, q api.CreateRequest) (api.Operation, error) {
	if op, done, err := w.repeated(ctx, q.RequestID, opCreate, q.Name); done {
		return op, err
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
		return api.Operation{}, api.Errorf(api.CodeUnsupported, "backend %s can't create instances: %s", q.Backend,
			orElse(caps.Why["create"], "it has nothing to create them with")).
			WithHint("berth adopt %s user@host takes in a machine that exists", q.Name)
	}
	if q.For != "" && !caps.Assign {
		return api.Operation{}, api.Errorf(api.CodeUnsupported,
			"backend %s can't assign an instance to somebody else (--for %s)", q.Backend, q.For)
	}
	if err := honoured(&q, &caps); err != nil {
		return api.Operation{}, err
	}
	account, err := w.accounts.ask(ctx, q.Backend)
	if err != nil {
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
	me := orElse(w.whoamiOf(ctx, q.Backend, b), backend.CallerFrom(ctx).Principal.ID)
	opID := operationID(q.RequestID)
	now := w.now().UTC()
	tags := map[string]string{}
	maps.Copy(tags, q.Tags)
	tags[backend.TagWorkspace], tags[backend.TagHome] = w.IDs()
	tags[backend.TagOp] = opID
	tags[backend.TagOwner], tags[backend.TagCreated] = me, now.Format("20060102T150405Z")
	ssh := q.SSH != nil && *q.SSH
	rec := store.Instance{
		Instance: api.Instance{Name: q.Name, ID: newID("i-"), Backend: q.Backend, Size: q.Size, Image: q.Image,
			Region: q.Region, Account: account, Owner: me, AssignedTo: q.For,
			CreatedAt: now, SSHEnabled: ssh, GPUs: size.GPUs, VCPUs: size.VCPUs, MemoryBytes: size.MemoryBytes,
			DiskBytes:       cmp.Or(q.DiskBytes, size.DiskBytes),
			PriceUSDPerHour: size.PriceUSD, RunningUSDPerHour: size.PriceUSD, Tags: tags, Capabilities: caps, Subnet: q.Subnet,
			Profiles: has},
		Token: opID,
		Spec: &backend.Spec{Token: opID, Name: q.Name, Size: q.Size, Image: q.Image, Region: q.Region, DiskBytes: q.DiskBytes,
			SSH:   ssh,
			Setup: q.Setup, OnStart: q.OnStart, Profiles: q.Profiles, AssignTo: q.For, Share: q.Share, Subnet: q.Subnet,
			PublicIP: q.PublicIP, From: from, Tags: tags},
	}
	if size.PriceUSD != nil && *size.PriceUSD == 0 {
		rec.StoppedUSDPerHour = size.PriceUSD // this host costs nothing either way
	}
	if p, ok := b.(backend.Planner); ok {
		if rec.Spec.Plan, err = within(ctx, w, "create of "+q.Name, func(ctx context.Context) (json.RawMessage, error) {
			return p.Plan(ctx, *rec.Spec)
		}); err != nil {
			return api.Operation{}, err
		}
	}
	if err := w.validate(ctx, b, rec.Spec); err != nil {
		return api.Operation{}, err
	}
	if b.Info().Private { // nobody else can use it
		rec.AssignedTo = me
	}
	w.setState(&rec, api.StateCreating, "")
	return w.beginNew(ctx, rec, store.Operation{Operation: api.Operation{ID: opID, Kind: opCreate}, Create: &q,
		Profiled: profiled})
}

// validate refuses a create that is bound to fail, before anything is stored. Where that can't be found out now (no
// answer from the provider, say), the operation tries and fails.
func (w *Workspace) validate(ctx context.Context, b backend.Backend, spec *backend.Spec) error {
	if err := w.checkKeys(ctx, b, spec); err != nil {
		return err
	}
	v, ok := b.(backend.Validator)
	if !ok {
		return nil
	}
	_, err := within(ctx, w, "create of "+spec.Name, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, v.Validate(ctx, *spec)
	})
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
	src, err := w.Record(q.From)
	if err == nil {
		err = w.accounts.check(ctx, &src, "")
	}
	if err == nil {
		_, err = w.Reconciler.Refresh(ctx, src.ID)
	}
	if err == nil {
		src, err = w.Record(src.ID)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := w.May(ctx, api.ActionAccess, &src.Instance); err != nil {
		return nil, nil, err
	}
	// What can never be is said before what can be put right.
	if err := capable(src.Capabilities.Clone && !src.Adopted, &src, "cloned", "clone"); err != nil {
		return nil, nil, err
	}
	switch {
	case src.Backend != q.Backend:
		return nil, nil, api.Errorf(api.CodeUsage, "%s is an instance of backend %s: a clone of it can't be made on %s",
			src.Name, src.Backend, q.Backend)
	case q.Image != "":
		return nil, nil, api.Errorf(api.CodeUsage, "a clone has the disk of %s: it takes no image", src.Name)
	case src.State != api.StateStopped:
		return nil, nil, api.Errorf(api.CodeRefused, "%s is %s: its disk can be copied whole only while it is stopped",
			src.Name, src.State).WithHint("berth stop %s", src.Name)
	}
	if q.Size == "" {
		q.Size = src.Size
	}
	q.Image = src.Image
	asThere(q, &src)
	r := ref(&src)
	return &r, src.Profiles, nil
}

// asThere fills the empty fields of a clone's request with what the source instance was made with.
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

// honoured refuses options that the backend would silently ignore.
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
			return api.Errorf(api.CodeUnsupported, "backend %s takes no choice of %s: %s", q.Backend, c.what,
				orElse(caps.Why[c.name], "it has none"))
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
	return nil, api.Errorf(api.CodeUsage, "backend %s has no image %q", q.Backend, q.Image).
		WithHint("its images: %s", strings.Join(names, ", "))
}
