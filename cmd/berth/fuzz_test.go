package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// FuzzParseTemplate reads template files: what is wrong is a usage error that says where.
func FuzzParseTemplate(f *testing.F) {
	f.Add([]byte("name = 'vision'\ndisk = '120GB'\nssh = true\n[tags]\nteam = 'nlp'\n"))
	f.Add([]byte("naem = 1\n"))
	f.Add([]byte("name = \"\\u001b[31m\"\nsetup = 3\n"))
	f.Add([]byte("\xff\xfe[["))
	f.Fuzz(func(t *testing.T, b []byte) {
		var tmpl template
		if err := parseTemplate(b, "x.toml", &tmpl); err != nil {
			e := api.AsError(err)
			require.Equal(t, 2, api.ExitCode(err))
			require.Contains(t, e.Message, "x.toml")
			require.NotEmpty(t, e.Hint)
			harmless(t, plaintext.Text(e.Message))
			return
		}
		_, err := json.Marshal(tmpl)
		require.NoError(t, err)
	})
}

// harmless wants text without anything that a terminal takes for more than text.
func harmless(t *testing.T, s string) {
	t.Helper()
	require.True(t, utf8.ValidString(s))
	for _, r := range s {
		if r == '\n' {
			continue
		}
		require.False(t, r < 0x20 || (r >= 0x7f && r < 0xa0) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069),
			"%q", s)
	}
}

// FuzzPrintInstance prints instances with anything in any field: the fleet's table, one instance's page
// and its JSON neither panic nor let through what a terminal would obey, and keep to their lines.
func FuzzPrintInstance(f *testing.F) {
	f.Add("vision|running|A100", int64(1), 0.5)
	f.Add("\x1b]0;evil\x07|\u009b31m|\u202eevil|a\nb\tc|\xff", int64(-1), -1.0)
	f.Add("||||", int64(1)<<62, 1e300)
	f.Fuzz(func(t *testing.T, text string, n int64, price float64) {
		fields := strings.Split(text, "|")
		get := func(k int) string { return fields[k%len(fields)] }
		at := time.Unix(n, 0)
		in := api.Instance{Name: get(0), State: api.State(get(1)), StateReason: get(2), Backend: get(3), Size: get(4),
			Image: get(5), Region: get(6), Owner: get(7), AssignedTo: get(8),
			ID: get(9), ProviderID: get(10), Address: get(11), User: get(12), Workdir: get(13), Port: int(n), VCPUs: int(n),
			MemoryBytes: n, DiskBytes: -n,
			GPUs: []api.GPU{{Name: get(14)}, {Name: get(15)}}, StateSince: at, IdleSince: &at, ObservedAt: &at, CreatedAt: at,
			PriceUSDPerHour: &price, RunningUSDPerHour: &price, StoppedUSDPerHour: &price, CostTodayUSD: &price,
			Adopted: n%2 == 0,
			Tags:    map[string]string{get(16): get(17)}, Notes: []string{get(18)},
			Capabilities: api.Capabilities{Why: map[string]string{get(19): get(20)}},
			Agent: &api.AgentStatus{State: get(21), Version: get(22), Reason: get(23), AfterReboot: get(24),
				Environment: api.ShellEnvironment{CapturedAt: time.Unix(1, 0), Shell: get(25), How: get(26), Error: get(27)}},
			Operation: &api.Operation{Kind: get(25), Steps: []api.Step{{Name: get(26), Title: get(27),
				State: api.OpState(get(28)), Message: get(29)}}}}
		var out, errOut bytes.Buffer
		a := &app{out: &out, err: &errOut}
		require.NoError(t, a.printFleet([]api.Instance{in, in}))
		require.Equal(t, 3, strings.Count(out.String(), "\n"), "a line an instance: %q", out.String())
		harmless(t, out.String())
		coloured := colourStates(out.String(), []api.Instance{in, in})
		for _, own := range []string{"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[36m"} {
			coloured = strings.ReplaceAll(coloured, own, "")
		}
		require.Equal(t, out.String(), coloured, "colours add nothing but colours")
		out.Reset()
		require.NoError(t, a.printInstance(&in))
		harmless(t, out.String())
		out.Reset()
		if in.CreatedAt.Year() >= 0 && in.CreatedAt.Year() <= 9999 {
			require.NoError(t, a.printJSON(in))
			harmless(t, out.String())
			require.True(t, json.Valid(out.Bytes()))
		}
	})
}
