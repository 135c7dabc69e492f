package inventory

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// driver reads the version of the loaded NVIDIA driver; nvidia-smi is asked where the kernel does not say.
func (h *Host) driver(ctx context.Context) (f found) {
	const file = "/proc/driver/nvidia/version"
	b, err := h.file(file, maxFile)
	if err == nil {
		note := ""
		if strings.Contains(string(b), "Open Kernel Module") {
			note = "open kernel module"
		}
		v := driverOf(b)
		if v == "" {
			f.fail("%s says no version: %.100q", file, b)
		}
		f.add("nvidia-driver", v, "", note)
		return f
	}
	if !missing(err) {
		f.fail("%v", err)
	}
	p := h.program([]string{"nvidia-smi"}, nil)
	if p == "" {
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, h.ToolLimit)
	defer cancel()
	b, err = h.Run(ctx, h.path(p), "--query-gpu=driver_version", "--format=csv,noheader")
	if v := versionIn(b); err == nil && v != "" {
		f.add("nvidia-driver", v, "", "")
		return f
	}
	f.fail("%s is installed, but no driver is loaded: %s", p, strings.TrimSpace(string(b[:min(len(b), 200)])))
	return f
}

// cuda finds toolkits: those of /usr/local, and another nvcc.
func (h *Host) cuda(ctx context.Context) (f found) {
	seen := map[string]bool{}
	current, _ := h.real("/usr/local/cuda")
	for _, dir := range h.glob("/usr/local/cuda", "/usr/local/cuda-*", "/opt/cuda") {
		real, err := h.real(dir)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		v := ""
		if b, err := h.file(dir+"/version.json", maxFile); err == nil {
			v = cudaJSON(b)
		} else if b, err := h.file(dir+"/version.txt", maxFile); err == nil {
			v = first(cudaText, b)
		}
		if v == "" {
			if _, err := os.Stat(h.path(dir + "/bin/nvcc")); err != nil {
				continue // what an uninstalled one left, or a runtime only
			}
			v = h.nvcc(ctx, dir+"/bin/nvcc", &f)
		}
		note := ""
		if real == current {
			note = "the current one"
		}
		f.add("cuda", v, real, note)
	}
	if p := h.program([]string{"nvcc"}, nil); p != "" {
		real, err := h.real(p)
		if err == nil && !seen[filepath.Dir(filepath.Dir(real))] && !strings.HasPrefix(real, "/usr/local/cuda") {
			f.add("cuda", h.nvcc(ctx, p, &f), p, "")
		}
	}
	return f
}

func (h *Host) nvcc(ctx context.Context, p string, f *found) string {
	ctx, cancel := context.WithTimeout(ctx, h.ToolLimit)
	defer cancel()
	b, err := h.Run(ctx, h.path(p), "--version")
	if err != nil {
		f.fail("%s --version: %v", p, err)
	}
	return first(nvccVersion, b)
}

// libraries finds cuDNN and NCCL by their headers, else by their packages, else by the libraries' names.
func (h *Host) libraries(context.Context) (f found) {
	have := h.have()
	for _, l := range []struct {
		name, header string
		defines      []string
		packages     string // prefix of their names
		library      string
	}{
		{"cudnn", "cudnn_version.h", []string{"CUDNN_MAJOR", "CUDNN_MINOR", "CUDNN_PATCHLEVEL"}, "libcudnn", "libcudnn.so."},
		{"nccl", "nccl.h", []string{"NCCL_MAJOR", "NCCL_MINOR", "NCCL_PATCH"}, "libnccl2", "libnccl.so."},
	} {
		seen := map[string]bool{}
		for _, p := range h.glob("/usr/include/"+l.header, "/usr/include/*-linux-gnu/"+l.header,
			"/usr/local/cuda*/include/"+l.header,
			"/usr/local/cuda*/targets/*/include/"+l.header, "/usr/local/include/"+l.header, "/opt/cuda/include/"+l.header) {
			b, err := h.file(p, maxFile)
			v := defined(b, l.defines...)
			if err != nil || v == "" || seen[v] {
				continue
			}
			seen[v] = true
			f.add(l.name, v, p, "")
		}
		for pkg, v := range have {
			if len(seen) == 0 && strings.HasPrefix(pkg, l.packages) && !strings.HasSuffix(pkg, "-dev") && !strings.Contains(pkg,
				"headers") {
				seen[v] = true
				f.add(l.name, versionOr(strings.SplitN(v, "+", 2)[0]), "", "package "+pkg)
			}
		}
		if len(seen) > 0 {
			continue
		}
		best := ""
		for _, p := range h.glob("/usr/lib/*-linux-gnu/"+l.library+"*", "/usr/lib64/"+l.library+"*",
			"/usr/lib/"+l.library+"*", "/usr/local/cuda*/lib64/"+l.library+"*", "/usr/local/lib/"+l.library+"*") {
			if v := strings.TrimPrefix(filepath.Base(p), l.library); len(v) > len(best) {
				best = v
			}
		}
		if best != "" {
			f.add(l.name, best, "", "library only")
		}
	}
	return f
}
