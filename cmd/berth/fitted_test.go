package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/machine/profile"
	"berth/ui/text"
)

func TestFitted(t *testing.T) {
	var b bytes.Buffer
	rows := [][]string{{"NAME", "NEEDS", ""}, {"a-name-that-is-long", "one, two, three, four, five", "what it is for"},
		{"b", "-", "short"}}
	require.NoError(t, fitted(&b, rows, 48))
	require.Equal(t, "NAME                 NEEDS\n"+
		"a-name-that-is-long  one, two,     what it is\n"+
		"                     three, four,  for\n"+
		"                     five\n"+
		"b                    -             short\n", b.String())
	b.Reset()
	require.NoError(t, fitted(&b, rows, 200))
	require.Equal(t, 3, strings.Count(b.String(), "\n"))
}

// The profiles fit 80 columns.
func TestProfilesFit(t *testing.T) {
	rows := [][]string{{"PROFILE", "NEEDS", "VERSIONS", "ORIGIN", ""}}
	for _, p := range profile.Load(t.TempDir()).Profiles() {
		rows = append(rows, []string{p.Name, strings.Join(p.Needs, ", "), versionsText(p.Variables), p.Origin, p.Title})
	}
	require.Greater(t, len(rows), 20)
	var b bytes.Buffer
	require.NoError(t, fitted(&b, rows, 80))
	for line := range strings.Lines(b.String()) {
		require.LessOrEqual(t, text.Width(strings.TrimRight(line, "\n")), 80)
	}
	for _, r := range rows {
		require.Contains(t, b.String(), r[0])
	}
}
