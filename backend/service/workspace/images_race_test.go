package workspace

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
)

// TestImageOfANameThatChangesHands: between the look whether the instance is the caller's and the image, the name goes
// to another's instance. No image of that is made.
func TestImageOfANameThatChangesHands(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	e.create(w, "vision")
	e.create(w, "other")
	mine, bobs := mustRecord(t, w, "vision"), mustRecord(t, w, "other")
	e.mem.Hook = func(_ context.Context, method string) error {
		if method != "Images" {
			return nil
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if e := w.entries[bobs.ID]; e != nil {
			delete(w.entries, mine.ID)
			e.rec.Name, e.rec.AssignedTo = "vision", "bob"
		}
		return nil
	}
	_, err := w.Images.Build(e.ctx(), api.ImageRequest{From: "vision", Name: "copy"})
	require.ErrorIs(t, err, backend.ErrNotFound)
}
