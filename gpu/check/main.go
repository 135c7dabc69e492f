package check

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"berth/gpu"
	"berth/gpu/nvml"
	"berth/gpu/probe/child"
	"berth/gpu/smi"
)

// Main compares each of the sources that this program has with nvidia-smi, and returns the exit code: 0 also on a
// machine without GPUs, which it says.
func Main(args []string, out, errOut io.Writer, sources ...child.Source) int {
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	fs.SetOutput(errOut)
	length := fs.Duration("for", time.Minute, "how long to measure, under a steady load")
	every := fs.Duration("every", time.Second, "the pause between samples")
	if err := fs.Parse(args); err != nil || fs.NArg() > 0 || *length <= 0 || *every <= 0 {
		return 2
	}
	if !gpu.Present() && os.Getenv(nvml.LibraryVariable) == "" {
		fmt.Fprintln(out, "There is no NVIDIA driver on this machine: there is nothing to compare.")
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code, tried := 0, 0
	for _, s := range sources {
		if !s.Built || s.Name == "nvidia-smi" {
			continue
		}
		tried++
		if err := checkOne(ctx, s, *length, *every, out); err != nil {
			fmt.Fprintf(errOut, "berth: gpu-check: %s: %v\n", s.Name, err)
			code = 1
		}
	}
	if tried == 0 {
		fmt.Fprintln(errOut, "berth: gpu-check: this program was built without NVML: there is nothing to compare with nvidia-smi (make gpu-check builds one that has it)")
		return 1
	}
	return code
}

func checkOne(ctx context.Context, s child.Source, length, every time.Duration, out io.Writer) error {
	src, err := s.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	tool, err := smi.Open()
	if err != nil {
		return err
	}
	defer tool.Close()
	return Run(ctx, Options{Source: src, SMI: tool, For: length, Every: every, Out: out})
}
