package inventory

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/backend/api"
	"berth/backend/machine/software"
)

// maxEnvs bounds the environments that are looked at.
const maxEnvs = 200

// pythons finds conda environments, other Pythons and virtual environments with their main packages, and
// the Jupyter kernels of all. Nothing of them is run.
func (h *Host) pythons(ctx context.Context) (f found) {
	var prefixes []string
	seen := map[string]bool{}
	dir := func(p string) bool { // a folder that was not looked at yet
		real, err := h.real(p)
		if err != nil || seen[real] || len(seen) > maxEnvs || ctx.Err() != nil || !h.isDir(p) {
			return false
		}
		seen[real] = true
		return true
	}
	roots := h.glob("/opt/conda", "/opt/miniforge*", "/opt/mambaforge*", "/opt/miniconda*", "/opt/anaconda*",
		"/opt/micromamba", "/anaconda", "/usr/local/miniforge*", "/usr/local/miniconda*", "/usr/local/anaconda*")
	if h.Home != "" {
		for _, n := range []string{"miniforge", "mambaforge", "miniconda", "anaconda", "micromamba", ".conda", "conda"} {
			roots = append(roots, h.glob(filepath.Join(h.Home, n)+"*")...)
		}
		if b, err := h.file(filepath.Join(h.Home, ".conda/environments.txt"), maxFile); err == nil {
			for l := range strings.SplitSeq(string(b), "\n") {
				if l = strings.TrimSpace(l); filepath.IsAbs(l) {
					roots = append(roots, filepath.Clean(l))
				}
			}
		}
	}
	for _, root := range roots {
		envs := []string{root}
		for _, n := range h.names(filepath.Join(root, "envs")) {
			envs = append(envs, filepath.Join(root, "envs", n))
		}
		for _, env := range envs {
			if !h.isDir(filepath.Join(env, "conda-meta")) || !dir(env) {
				continue
			}
			c, manager := h.condaEnv(env)
			if c.Name = filepath.Base(env); filepath.Base(filepath.Dir(env)) != "envs" {
				c.Name = "base"
				if manager != "" {
					f.add("conda", manager, env, "")
				}
			}
			f.conda = append(f.conda, c)
			prefixes = append(prefixes, env)
		}
	}
	if h.Home != "" && h.Home != "/" {
		for _, p := range h.venvs(ctx, h.Home) {
			if dir(p) {
				f.python = append(f.python, h.venv(p))
				prefixes = append(prefixes, p)
			}
		}
	}
	for _, sys := range []struct{ name, lib string }{{"system", "/usr/lib"}, {"system (local)", "/usr/local/lib"},
		{"user", filepath.Join(h.Home, ".local/lib")}} {
		if sys.name == "user" && h.Home == "" {
			continue
		}
		c := api.Conda{Name: sys.name, Path: sys.lib, Packages: map[string]string{}}
		h.sitePackages(c.Packages, sys.lib)
		if len(c.Packages) > 0 {
			f.python = append(f.python, c)
		}
	}
	dirs := []string{"/usr/local/share/jupyter", "/usr/share/jupyter"}
	if h.Home != "" {
		dirs = append(dirs, filepath.Join(h.Home, ".local/share/jupyter"))
	}
	h.kernels(&f, dirs, prefixes)
	return f
}

// condaEnv reads an environment's conda-meta, and what pip put beside it. manager is the version of conda
// itself, if it is there.
func (h *Host) condaEnv(prefix string) (c api.Conda, manager string) {
	c = api.Conda{Path: prefix, Packages: map[string]string{}}
	h.sitePackages(c.Packages, filepath.Join(prefix, "lib"))
	for _, n := range h.names(filepath.Join(prefix, "conda-meta")) {
		name, version, ok := condaPackage(n)
		switch {
		case !ok:
		case name == "python":
			c.Python = version
		case name == "conda" || name == "mamba" && manager == "":
			manager = version
		case software.Package(name):
			c.Packages[name] = version
		}
	}
	return c, manager
}

// sitePackages adds the main packages of all Pythons whose libraries are below lib.
func (h *Host) sitePackages(to map[string]string, lib string) {
	for _, py := range h.names(lib) {
		if !strings.HasPrefix(py, "python3") {
			continue
		}
		for _, d := range []string{"site-packages", "dist-packages"} {
			for _, n := range h.names(filepath.Join(lib, py, d)) {
				if name, version, ok := distInfo(n); ok && software.Package(name) {
					to[name] = version
				}
			}
		}
	}
}

// workVenvs finds virtual environments in the working directory: a part of its own, as that may be a slow
// share.
func (h *Host) workVenvs(ctx context.Context) (f found) {
	if h.Work == "" || h.Work == h.Home || h.Work == "/" {
		return f
	}
	var prefixes []string
	for _, p := range h.venvs(ctx, h.Work) {
		f.python = append(f.python, h.venv(p))
		prefixes = append(prefixes, p)
	}
	h.kernels(&f, nil, prefixes)
	return f
}

// venv reads a virtual environment.
func (h *Host) venv(p string) api.Conda {
	c := api.Conda{Name: filepath.Base(p), Path: p, Packages: map[string]string{}}
	if n := filepath.Base(p); strings.HasPrefix(n, ".") || n == "venv" || n == "env" {
		c.Name = filepath.Base(filepath.Dir(p)) + "/" + n
	}
	if b, err := h.file(filepath.Join(p, "pyvenv.cfg"), maxFile); err == nil {
		for l := range strings.SplitSeq(string(b), "\n") {
			if k, v, ok := strings.Cut(l, "="); ok && strings.HasPrefix(strings.TrimSpace(k), "version") {
				c.Python = versionIn([]byte(v))
			}
		}
	}
	h.sitePackages(c.Packages, filepath.Join(p, "lib"))
	return c
}

// venvs finds virtual environments in a folder, two levels deep.
func (h *Host) venvs(ctx context.Context, root string) []string {
	var out []string
	skip := []string{".cache", ".vscode-server", ".cursor-server", "node_modules", ".git", ".npm", ".local", "go",
		".cargo", "snap"}
	var walk func(dir string, depth int)
	walk = func(dir string, depth int) {
		if ctx.Err() != nil || len(out) > maxEnvs {
			return
		}
		entries, _ := os.ReadDir(h.path(dir))
		for i, e := range entries {
			if i > 2000 || !e.IsDir() || slices.Contains(skip, e.Name()) {
				continue
			}
			p := filepath.Join(dir, e.Name())
			if _, err := os.Stat(h.path(filepath.Join(p, "pyvenv.cfg"))); err == nil {
				out = append(out, p)
			} else if depth > 0 {
				walk(p, depth-1)
			}
		}
	}
	walk(root, 1)
	return out
}

// kernels finds the Jupyter kernels of folders, and of environments.
func (h *Host) kernels(f *found, dirs, prefixes []string) {
	for _, p := range prefixes {
		dirs = append(dirs, filepath.Join(p, "share/jupyter"))
	}
	for _, d := range dirs {
		for _, n := range h.names(filepath.Join(d, "kernels")) {
			p := filepath.Join(d, "kernels", n)
			b, err := h.file(filepath.Join(p, "kernel.json"), maxFile)
			if err != nil {
				continue
			}
			title, language, ok := kernelJSON(b)
			if !ok {
				f.fail("%s/kernel.json can't be read", p)
				continue
			}
			f.kernels = append(f.kernels, api.KernelSpec{Name: n, Title: title, Language: language, Path: p})
		}
	}
}
