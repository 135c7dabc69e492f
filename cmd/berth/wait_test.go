package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func TestProgressOfATransferFitsInALine(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, live: true}
	op := api.Operation{Kind: "create", Instance: "vision", Steps: []api.Step{{Title: "preparing the image",
		State:   api.OpRunning,
		Message: "fetching debian-12", DoneBytes: 100 << 20, TotalBytes: 400 << 20}}}
	p.show(op)
	require.Contains(t, out.String(), "fetching debian-12 [#####---------------]")
	out.Reset()
	op.Steps[0].Message, op.Steps[0].TotalBytes = "a very long message: "+strings.Repeat("wide ", 60), 0
	p.show(op)
	line := strings.TrimPrefix(out.String(), "\r\x1b[K")
	require.LessOrEqual(t, len([]rune(line)), 79)
	op.Steps[0].Message = "two\nlines"
	out.Reset()
	p.show(op)
	require.NotContains(t, out.String(), "\n")
	p.clear()
	require.True(t, strings.HasSuffix(out.String(), "\r\x1b[K"))
}
