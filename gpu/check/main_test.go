package check

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/nvml/loader"
	"berth/gpu/nvmltest"
	"berth/gpu/probe/child"
	"berth/gpu/smi"
)

// loaded are the sources that a test may open side by side in one process: NVIDIA's bindings keep the first library.
func loaded(t *testing.T) []child.Source {
	if !loader.Built {
		t.Skip("this build has no loader of NVML: it needs cgo or the tag nvml")
	}
	return child.Portable()
}

func run(t *testing.T, args ...string) (code int, out, errOut string) {
	var a, b bytes.Buffer
	code = Main(args, &a, &b, loaded(t)...)
	return code, a.String(), b.String()
}

func TestCheckAgrees(t *testing.T) {
	nvmltest.New(t, nvmltest.Scenario{GPUs: []nvmltest.GPU{nvmltest.A100(0), nvmltest.RTX(1), nvmltest.T4(2)}}).Setenv(t)
	code, out, errOut := run(t, "-for", "300ms", "-every", "100ms")
	require.Zero(t, code, "%s%s", out, errOut)
	for _, w := range []string{"GPU-0f3a0000", "NVIDIA GeForce RTX 4090", "power W", "0 wrong"} {
		require.Contains(t, out, w)
	}
}

// What differs is found: here the library and the tool see different drivers.
func TestCheckFindsDifferences(t *testing.T) {
	f := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(2)})
	f.Setenv(t)
	other := f.Scenario()
	other.GPUs[1].Set(nvmltest.Power, 300_000)
	other.GPUs[1].Set(nvmltest.Temperature, 53)
	other.GPUs[0].Set(nvmltest.PowerLimit, 399_000)
	other.GPUs[0].Set(nvmltest.Utilization, 64)
	path := t.TempDir() + "/other"
	require.NoError(t, other.Write(path))
	tool := t.TempDir() + "/nvidia-smi"
	require.NoError(t, os.WriteFile(tool, []byte("#!/bin/sh\nFAKE_NVML_SCENARIO="+path+" exec "+f.SMI+" \"$@\"\n"), 0o755))
	t.Setenv(smi.PathVariable, tool)
	code, out, _ := run(t, "-for", "300ms", "-every", "100ms")
	require.Equal(t, 1, code)
	require.Contains(t, out, "4 wrong", out)
	require.Regexp(t, `1 +power W +251.50 +300 +WRONG +by 48.50`, out)
	require.Regexp(t, `0 +power limit W +400 +399 +WRONG`, out)
	require.Regexp(t, `1 +temperature °C +51 +53 +WRONG`, out)
	require.Regexp(t, `0 +utilisation % +60 +64 +WRONG`, out)
}

func TestCheckWithoutDriver(t *testing.T) {
	if gpu.Present() {
		t.Skip("this machine has a driver")
	}
	var out bytes.Buffer
	require.Zero(t, Main(nil, &out, &out, child.Portable()...))
	require.Contains(t, out.String(), "no NVIDIA driver")
}

// A program without NVML says so: nvidia-smi can't be held against itself.
func TestCheckWithoutNVML(t *testing.T) {
	nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1)}).Setenv(t)
	var out, errOut bytes.Buffer
	require.Equal(t, 1, Main(nil, &out, &errOut, child.Source{Name: "nvidia-smi", Built: true, Open: smi.Open}))
	require.Contains(t, errOut.String(), "without NVML")
}

func TestCompareLost(t *testing.T) {
	n := func(v float64) *float64 { return &v }
	ours := []gpu.Reading{{GPUs: []gpu.GPU{{Index: 0, Error: "lost"}, {Index: 1, Power: n(3)}}}}
	theirs := []gpu.Reading{{GPUs: []gpu.GPU{{Index: 0, Power: n(3)}, {Index: 1, Power: n(3), Fan: n(4)}}}}
	var bad []string
	for _, r := range Compare(ours, theirs) {
		if r.Bad {
			bad = append(bad, r.Figure)
		}
	}
	require.Equal(t, []string{"GPU", "fan %"}, bad)
	require.True(t, Compare(nil, nil)[0].Bad)
}

func TestCheckNamesTheFailure(t *testing.T) {
	nvmltest.New(t, nvmltest.Scenario{Fail: map[string]int{"nvmlInit_v2": nvmltest.VersionMismatch}}).Setenv(t)
	code, _, errOut := run(t)
	require.Equal(t, 1, code)
	require.Contains(t, errOut, "version mismatch")
}
