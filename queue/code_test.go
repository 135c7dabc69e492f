package queue

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSaw(t *testing.T) {
	a, b := &Code{Commit: "a"}, &Code{Commit: "b"}
	s := Status{Attempt: 1}
	require.True(t, s.Saw(a, 0, nil))
	require.False(t, s.Saw(b, 0, nil), "the first counts")
	require.False(t, s.Saw(&Code{Commit: "a"}, 1, nil), "it is as it was")
	require.False(t, s.Saw(b, 2, nil), "that is another run")
	require.True(t, s.Saw(b, 1, nil))
	require.Equal(t, Status{Attempt: 1, Code: a, Began: b}, s)

	s = Status{Attempt: 1}
	require.True(t, s.Saw(b, 1, nil), "the look at the submit took too long")
	require.Equal(t, Status{Attempt: 1, Code: b}, s)
	s = Status{Attempt: 1}
	require.True(t, s.Saw(b, 1, a), "an element has its array's")
	require.Equal(t, Status{Attempt: 1, Code: a, Began: b}, s)
	s = Status{Attempt: 1}
	require.True(t, s.Saw(&Code{Commit: "a"}, 1, a))
	require.Equal(t, Status{Attempt: 1, Code: a}, s)
}
