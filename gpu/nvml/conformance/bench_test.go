package conformance

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/nvml/gonvml"
	"berth/gpu/nvml/loader"
	"berth/gpu/nvmltest"
)

// BenchmarkRead is one reading of 8 GPUs with 30 processes, without what the true driver's calls cost: what our
// side and the crossing into C take. It has to be small beside a second.
func BenchmarkRead(b *testing.B) {
	s := nvmltest.Scenario{GPUs: nvmltest.A100s(8)}
	for i := range 22 {
		g := &s.GPUs[i%8]
		g.Processes = append(g.Processes, nvmltest.Process{PID: 7000 + i, Memory: 1 << 30})
		g.Samples = append(g.Samples, nvmltest.Sample{PID: 7000 + i, SM: 3})
	}
	f := nvmltest.New(b, s)
	for _, v := range []struct{ name, value string }{{"BERTH_NVML_LIBRARY", f.Library}, {"FAKE_NVML_SCENARIO", f.Path}} {
		b.Setenv(v.name, v.value)
	}
	for _, c := range []struct {
		name  string
		built bool
		open  func() (gpu.Source, error)
	}{{"go-nvml", gonvml.Built, gonvml.Open}, {"nvml", loader.Built, loader.Open}} {
		if !c.built {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			src, err := c.open()
			require.NoError(b, err)
			defer src.Close()
			r, err := src.Read(b.Context())
			require.NoError(b, err)
			require.Len(b, r.Processes, 30, os.Getenv("FAKE_NVML_SCENARIO"))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := src.Read(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
