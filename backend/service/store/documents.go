package store

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/idle"
)

// Document is what a feature keeps of an instance. It has a revision of its own: a change of it does not rewrite the
// instance, and meets no change of its state or of another feature's. It goes when the instance goes.
//
// A feature whose state is looked at wherever an instance is has a part of Features; another one needs only a kind.
type Document struct {
	InstanceID string
	Kind       string
	Revision   int64 // that its writer saw; 0: it is new
	Doc        json.RawMessage
}

func (d *Document) what() string {
	return "the document \"" + d.Kind + "\" of instance " + d.InstanceID
}

// Features are what features keep of an instance, each in a document of its own. In the JSON of an instance they are
// not: stores of version 2 and before had their fields there, migration 0003 has moved them.
type Features struct {
	Setups
	Attention
	Idle
	Figures
}

// Setups are an instance's set-ups, of the kind "setup".
type Setups struct {
	Revision int64 `json:"-"`
	// SetupID is the agent's plan of the last set-up, SetupProfiles what it applies that is not done yet;
	// SetupScript: it also runs a script.
	SetupID       string   `json:"setup_id,omitempty"`
	SetupProfiles []string `json:"setup_profiles,omitempty"`
	SetupScript   bool     `json:"setup_script,omitempty"`
	// SetupFailed says why the last set-up failed; empty: it did not, or was gone on with.
	SetupFailed string `json:"setup_failed,omitempty"`
	// Unfinished are set-ups that failed before the last one and were not gone on with, oldest first.
	Unfinished []Setup `json:"unfinished,omitempty"`
}

// Setup is a set-up that failed: the agent's plan, what it applies that is not done yet, and why it failed.
type Setup struct {
	ID       string   `json:"id"`
	Profiles []string `json:"profiles,omitempty"`
	Script   bool     `json:"script,omitempty"` // it also runs a script
	Failed   string   `json:"failed"`
}

// Attention is what was said of an instance's findings, of the kind "attention".
type Attention struct {
	Revision int64 `json:"-"`
	// Told are findings, by id, that the hook was called for, with when each began.
	Told map[string]time.Time `json:"told,omitempty"`
	// Acknowledged are findings, by id, that somebody has seen, with when each began; Muted are rules that are
	// to be quiet, with until when.
	Acknowledged map[string]time.Time `json:"acknowledged,omitempty"`
	Muted        map[string]time.Time `json:"muted,omitempty"`
}

// Idle is of the kind "idle".
type Idle struct {
	Revision int64 `json:"-"`
	// IdleDay is in which minutes of its last day its GPUs were idle.
	IdleDay *idle.Day `json:"idle_day,omitempty"`
}

// Figures are of the kind "figures".
type Figures struct {
	Revision int64 `json:"-"`
	// LastFigures are those that its agent said last before it stopped.
	LastFigures *gpu.Summary `json:"last_figures,omitempty"`
}

// features are the kinds of the parts of Features, and where each part and its revision are.
var features = []struct {
	kind string
	of   func(f *Features) (doc any, revision *int64)
}{
	{"setup", func(f *Features) (any, *int64) { return &f.Setups, &f.Setups.Revision }},
	{"attention", func(f *Features) (any, *int64) { return &f.Attention, &f.Attention.Revision }},
	{"idle", func(f *Features) (any, *int64) { return &f.Idle, &f.Idle.Revision }},
	{"figures", func(f *Features) (any, *int64) { return &f.Figures, &f.Figures.Revision }},
}

// Put adds to c what of now is to be written: the instance, and the documents of its features, each where it is not as
// in was, which is what the store has. was is nil where the instance is new.
func (c *Change) Put(was, now *Instance) error {
	if was == nil || !sameOwn(was, now) {
		c.Instances = append(c.Instances, *now)
	}
	if was == nil {
		was = &Instance{}
	}
	for _, f := range features {
		doc, revision := f.of(&now.Features)
		if old, _ := f.of(&was.Features); reflect.DeepEqual(old, doc) {
			continue
		}
		b, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("the document %q of %s: %w", f.kind, now.Name, err)
		}
		c.Documents = append(c.Documents, Document{InstanceID: now.ID, Kind: f.kind, Revision: *revision, Doc: b})
	}
	return nil
}

// sameOwn compares two instances without their features.
func sameOwn(a, b *Instance) bool {
	x, y := *a, *b
	x.Features, y.Features = Features{}, Features{}
	return reflect.DeepEqual(&x, &y)
}

// Written puts into ins, of which c was put together, the revisions that they have since c is written.
func (c *Change) Written(ins []Instance) {
	at := make(map[string]*Instance, len(ins))
	for i := range ins {
		at[ins[i].ID] = &ins[i]
	}
	for i := range c.Instances {
		if in := at[c.Instances[i].ID]; in != nil {
			in.Revision = c.Instances[i].Revision
		}
	}
	for i := range c.Documents {
		d := &c.Documents[i]
		for _, f := range features {
			if in := at[d.InstanceID]; in != nil && f.kind == d.Kind {
				_, revision := f.of(&in.Features)
				*revision = d.Revision
			}
		}
	}
}

// take puts a stored document into f. Other features' kinds are not for it.
func (f *Features) take(d *Document) error {
	for _, of := range features {
		if of.kind != d.Kind {
			continue
		}
		doc, revision := of.of(f)
		if err := json.Unmarshal(d.Doc, doc); err != nil {
			return api.Errorf(api.CodeStore, "the document %q of instance %s can't be read: %w in %.80q", d.Kind,
				d.InstanceID, err, d.Doc)
		}
		*revision = d.Revision
	}
	return nil
}

// Load reads all instances with what their features keep, and all documents: some are of no feature of Features.
func Load(ctx context.Context, s Store) ([]Instance, []Document, error) {
	ins, err := s.Instances(ctx)
	if err != nil {
		return nil, nil, err
	}
	docs, err := s.Documents(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	return ins, docs, withFeatures(ins, docs)
}

// Read is Load for one instance. It is CodeNotFound where there is none.
func Read(ctx context.Context, s Store, id string) (Instance, error) {
	in, err := s.Instance(ctx, id)
	if err != nil {
		return in, err
	}
	docs, err := s.Documents(ctx, id)
	if err != nil {
		return in, err
	}
	ins := []Instance{in}
	err = withFeatures(ins, docs)
	return ins[0], err
}

// withFeatures puts documents into the instances that they are of.
func withFeatures(ins []Instance, docs []Document) error {
	at := make(map[string]*Instance, len(ins))
	for i := range ins {
		at[ins[i].ID] = &ins[i]
	}
	for i := range docs {
		if in := at[docs[i].InstanceID]; in != nil {
			if err := in.take(&docs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
