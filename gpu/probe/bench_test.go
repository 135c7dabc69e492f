package probe

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu/nvmltest"
)

func busy() nvmltest.Scenario {
	s := nvmltest.Scenario{GPUs: nvmltest.A100s(8)}
	for i := range 22 {
		g := &s.GPUs[i%8]
		g.Processes = append(g.Processes, nvmltest.Process{PID: 7000 + i, Memory: 1 << 30})
		g.Samples = append(g.Samples, nvmltest.Sample{PID: 7000 + i, SM: 3})
	}
	return s
}

// BenchmarkLine is what a line of 8 GPUs with 30 processes costs the agent.
func BenchmarkLine(b *testing.B) {
	f := nvmltest.New(b, busy())
	exe, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), f.Env()...), asChild+"=once-true")
	line, err := cmd.Output()
	require.NoError(b, err)
	r, err := parse(line)
	require.NoError(b, err)
	require.Len(b, r.Processes, 30)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parse(line); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChild is what the child costs a second at 1 Hz and at 0.1 Hz, in percent of a core, on the fake driver:
// the true one's own work comes on top.
func BenchmarkChild(b *testing.B) {
	for _, every := range []time.Duration{time.Second, 10 * time.Second} {
		b.Run(every.String(), func(b *testing.B) {
			f := nvmltest.New(b, busy())
			exe, err := os.Executable()
			require.NoError(b, err)
			for range b.N {
				cmd := exec.Command(exe)
				cmd.Env = append(append(os.Environ(), f.Env()...), asChild+"=probe")
				in, err := cmd.StdinPipe()
				require.NoError(b, err)
				require.NoError(b, cmd.Start())
				_, err = in.Write([]byte("every " + every.String() + "\n"))
				require.NoError(b, err)
				time.Sleep(time.Second) // its start is not counted
				began, t0 := time.Now(), cpu(b, cmd.Process.Pid)
				time.Sleep(20 * time.Second)
				used := cpu(b, cmd.Process.Pid) - t0
				b.ReportMetric(100*used.Seconds()/time.Since(began).Seconds(), "%core")
				in.Close()
				require.NoError(b, cmd.Wait())
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cpu is what a process has used so far, to a hundredth of a second.
func cpu(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		b.Skip("this system has no /proc/PID/stat")
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	require.NoError(b, err1)
	require.NoError(b, err2)
	return time.Duration(user+system) * 10 * time.Millisecond
}
