package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"berth/backend"
	"berth/backend/api"
)

// parseSnapshot reads a snapshot's XML.
func parseSnapshot(text string) (api.Snapshot, error) {
	var x struct {
		Name         string `xml:"name"`
		Description  string `xml:"description"`
		State        string `xml:"state"`
		CreationTime int64  `xml:"creationTime"`
		Memory       struct {
			Snapshot string `xml:"snapshot,attr"`
		} `xml:"memory"`
	}
	if err := xml.Unmarshal([]byte(text), &x); err != nil {
		return api.Snapshot{}, fmt.Errorf("reading a snapshot's XML: %w", err)
	}
	return api.Snapshot{Name: x.Name, Description: x.Description, CreatedAt: time.Unix(x.CreationTime, 0).UTC(),
		Memory: x.Memory.Snapshot == "internal" || x.Memory.Snapshot == "external"}, nil
}

// Snapshots implements backend.Snapshotter; the oldest comes first.
func (b *Backend) Snapshots(ctx context.Context, ref backend.Ref) ([]api.Snapshot, error) {
	dom, e, err := b.lookup(ctx, ref)
	if err != nil {
		return nil, err
	}
	what := "listing the snapshots of " + e.meta.Name
	snaps, err := call(ctx, b, what, func(l *golibvirt.Libvirt) ([]golibvirt.DomainSnapshot, error) {
		s, _, err := l.DomainListAllSnapshots(dom, 1, 0)
		return s, err
	})
	if err != nil {
		return nil, err
	}
	out := []api.Snapshot{}
	for _, s := range snaps {
		text, err := call(ctx, b, what, func(l *golibvirt.Libvirt) (string, error) {
			return l.DomainSnapshotGetXMLDesc(s, 0)
		})
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sn, err := parseSnapshot(text)
		if err != nil {
			return nil, err
		}
		current, err := call(ctx, b, what, func(l *golibvirt.Libvirt) (int32, error) {
			return l.DomainSnapshotIsCurrent(s, 0)
		})
		if err != nil && !isGone(err) {
			return nil, err
		}
		sn.Current = current == 1
		out = append(out, sn)
	}
	slices.SortStableFunc(out, func(a, c api.Snapshot) int { return a.CreatedAt.Compare(c.CreatedAt) })
	return out, nil
}

func (b *Backend) snapshot(ctx context.Context, dom golibvirt.Domain, e *entry,
	name string) (golibvirt.DomainSnapshot, error) {
	s, err := call(ctx, b, "looking for the snapshot "+name, func(l *golibvirt.Libvirt) (golibvirt.DomainSnapshot, error) {
		return l.DomainSnapshotLookupByName(dom, name, 0)
	})
	if isGone(err) {
		return s, api.Errorf(api.CodeNotFound, "%s has no snapshot %s", e.meta.Name, name).
			WithHint("berth snapshot ls %s lists them", e.meta.Name)
	}
	return s, err
}

// Snapshot implements backend.Snapshotter. Of a running machine its memory is kept too; it stands still
// for as long as that is written.
func (b *Backend) Snapshot(ctx context.Context, ref backend.Ref, name string) error {
	dom, e, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := b.snapshot(ctx, dom, e, name); err == nil {
		return api.Errorf(api.CodeConflict, "%s has a snapshot %s already", e.meta.Name, name).
			WithHint("choose another name, or delete it first")
	} else if !isGone(err) {
		return err
	}
	on, err := b.active(ctx, dom)
	if err != nil {
		return err
	}
	if on && len(e.meta.GPUs) > 0 {
		return api.Errorf(api.CodeUnsupported, "%s runs with a GPU of the host, whose state can't be kept", e.meta.Name).
			WithHint("stop it first: of a stopped machine the disk is kept")
	}
	memory := "no"
	if on {
		memory = "internal"
	}
	x := &libvirtxml.DomainSnapshot{Name: name, Memory: &libvirtxml.DomainSnapshotMemory{Snapshot: memory},
		Disks: &libvirtxml.DomainSnapshotDisks{}}
	for _, d := range e.dom.Devices.Disks {
		how := "no" // the seed
		if d.Target.Dev == "vda" {
			how = "internal"
		}
		x.Disks.Disks = append(x.Disks.Disks, libvirtxml.DomainSnapshotDisk{Name: d.Target.Dev, Snapshot: how})
	}
	text, err := x.Marshal()
	if err != nil {
		return fmt.Errorf("encoding the snapshot %s: %w", name, err)
	}
	_, err = apart(ctx, b, fmt.Sprintf("making the snapshot %s of %s", name, e.meta.Name),
		func(l *golibvirt.Libvirt) (golibvirt.DomainSnapshot, error) {
			return l.DomainSnapshotCreateXML(dom, text, 0)
		})
	return plainRefusal(e, err)
}

// plainRefusal says in plain words why libvirt refuses to keep or take back a state.
func plainRefusal(e *entry, err error) error {
	if err == nil {
		return nil
	}
	for part, plain := range map[string]string{
		"migration disabled":           "a device of it can't be kept: a GPU or another device of the host is passed through",
		"non-migratable":               "a device of it can't be kept: a GPU or another device of the host is passed through",
		"pflash":                       "it boots by UEFI, whose memory can't be kept while it runs",
		"internal snapshots":           "its disk can't keep this state",
		"not supported for qcow2":      "its disk can't keep this state",
		"Target domain CPU type":       "it was made with another processor type",
		"must be inactive or snapshot": "it must be stopped first",
	} {
		if strings.Contains(err.Error(), part) {
			return api.Errorf(api.CodeUnsupported, "%s: %w", plain, err).
				WithHint("stop %s and try again: of a stopped machine the disk is kept", e.meta.Name)
		}
	}
	return err
}

// Restore implements backend.Snapshotter. A snapshot with memory runs afterwards, one without is stopped.
func (b *Backend) Restore(ctx context.Context, ref backend.Ref, name string) error {
	dom, e, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := b.snapshot(ctx, dom, e, name)
	if err != nil {
		return err
	}
	b.stops.Delete(dom.UUID)
	_, err = apart(ctx, b, fmt.Sprintf("taking %s back to the snapshot %s", e.meta.Name, name),
		func(l *golibvirt.Libvirt) (struct{}, error) {
			err := l.DomainRevertToSnapshot(s, 0)
			if hasCode(err, golibvirt.ErrSnapshotRevertRisky) {
				err = l.DomainRevertToSnapshot(s, uint32(golibvirt.DomainSnapshotRevertForce))
			}
			return struct{}{}, err
		})
	b.known.forget(dom.UUID)
	return plainRefusal(e, err)
}

// DeleteSnapshot implements backend.Snapshotter.
func (b *Backend) DeleteSnapshot(ctx context.Context, ref backend.Ref, name string) error {
	dom, e, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := b.snapshot(ctx, dom, e, name)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = apart(ctx, b, fmt.Sprintf("removing the snapshot %s of %s", name, e.meta.Name),
		func(l *golibvirt.Libvirt) (struct{}, error) {
			return struct{}{}, l.DomainSnapshotDelete(s, 0)
		})
	if isGone(err) {
		return nil
	}
	return err
}
