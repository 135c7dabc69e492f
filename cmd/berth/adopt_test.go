package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHostsAreCompleted(t *testing.T) {
	hosts := []string{"lab-1", "lab-2", "web"}
	require.Equal(t, hosts, hostsFor("", hosts))
	require.Equal(t, []string{"lab-1", "lab-2"}, hostsFor("l", hosts))
	require.Equal(t, []string{"ada@lab-1", "ada@lab-2"}, hostsFor("ada@l", hosts))
	require.Empty(t, hostsFor("x", hosts))
}
