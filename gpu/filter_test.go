package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWords(t *testing.T) {
	for _, q := range []string{"", "  ", "!", " ! "} {
		require.Nil(t, Words(q), "%q asks for nothing", q)
	}
	for _, c := range []struct {
		query, hay string
		want       bool
	}{
		{"Train", "resnet TRAINING", true}, {"train idle", "training, idle", true}, {"train idle", "training", false},
		{"!train", "training", false}, {"!train", "idle", true},
		// Each word is negated by its own sign only, wherever it stands.
		{"a !b c", "a c", true}, {"a !b c", "a b c", false}, {"a !b c", "a", false}, {"!b a", "c", false},
		{"!train !idle", "training", false}, {"!train !idle", "stopped", true}, {"a !", "a", true},
	} {
		require.Equal(t, c.want, Words(c.query)(c.hay), "%q in %q", c.query, c.hay)
	}
}

func TestProcessFilter(t *testing.T) {
	require.Nil(t, ProcessFilter(" "))
	p := &Process{PID: 4711, User: "ann", Command: "python train.py", State: "sleeping", Owner: Owner{Kind: "job",
		ID: "12"}}
	for query, want := range map[string]bool{"4711": true, "ANN train": true, "job 12": true, "bob": false,
		"!sleeping": false} {
		require.Equal(t, want, ProcessFilter(query)(p), query)
	}
}
