package server

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// A home that does not say who it is may be the one that asks, before its upgrade: it counts for a while.
func TestOtherHomes(t *testing.T) {
	now := time.Now()
	use := func(id string, ago time.Duration) api.HomeUse {
		return api.HomeUse{Home: api.Home{ID: id}, SeenAt: now.Add(-ago)}
	}
	h := Homes{Homes: []api.HomeUse{use("a", 0), use("b", 1000*time.Hour), use("", time.Hour)}}
	require.Equal(t, []api.HomeUse{h.Homes[1], h.Homes[2]}, h.Others("a"))
	require.Equal(t, []api.HomeUse{h.Homes[0], h.Homes[2]}, h.Others("b"))
	h.Homes[2] = use("", api.NamelessFor+time.Hour)
	require.Equal(t, []api.HomeUse{h.Homes[1]}, h.Others("a"))
	require.Len(t, h.Homes, 3, "the list itself is as it was")
}
