package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/pelletier/go-toml/v2"

	"berth/assets"
	"berth/backend/api"
	"berth/backend/base/tomltext"
)

// size is an entry of a sizes file.
type size struct {
	Name        string `toml:"name"`
	Description string `toml:"description"`
	VCPUs       int    `toml:"vcpus"`
	Memory      string `toml:"memory"` // "4GiB"
	Disk        string `toml:"disk"`
	GPUs        int    `toml:"gpus"`
	GPU         string `toml:"gpu"` // whole words of the GPU's name; empty: any
	Default     bool   `toml:"default"`

	memory, disk int64
	own          bool // of the user's file
}

// parseSizes reads a sizes file.
func parseSizes(b []byte, file string) ([]size, error) {
	var doc struct {
		Size []size `toml:"size"`
	}
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&doc); err != nil {
		return nil, tomltext.Explain(file, err)
	}
	seen := map[string]bool{}
	for i := range doc.Size {
		z := &doc.Size[i]
		fail := func(why string) error {
			return api.Errorf(api.CodeUsage, "%s: the size %q: %s", tomltext.Table(file, b, "size", i), z.Name, why)
		}
		mem, merr := humanize.ParseBytes(z.Memory)
		disk, derr := humanize.ParseBytes(or(z.Disk, "0"))
		switch {
		case !plainName().MatchString(z.Name):
			return nil, fail("its name must be letters, digits, - _ .")
		case seen[z.Name]:
			return nil, fail("it is there twice")
		case z.VCPUs < 1 || z.VCPUs > 4096:
			return nil, fail("vcpus must be 1 to 4096")
		case z.GPUs < 0 || z.GPUs > 64:
			return nil, fail("gpus must be 0 to 64")
		case merr != nil || mem < 64<<20 || mem > 1<<46:
			return nil, fail(`memory must be a size as "4GiB", at least 64MiB`)
		case derr != nil || disk > 1<<56:
			return nil, fail(`disk must be a size as "40GiB"`)
		}
		seen[z.Name] = true
		z.memory, z.disk = int64(mem)>>10<<10, int64(disk)
	}
	return doc.Size, nil
}

// catalogue reads Berth's sizes and the user's: those replace Berth's of the same name, and their default
// is the default.
func (s settings) catalogue() ([]size, error) {
	text, _ := assets.Sizes(Name)
	all, err := parseSizes(text, "Berth's sizes")
	if err != nil {
		return nil, err
	}
	text, err = os.ReadFile(s.sizes)
	if errors.Is(err, fs.ErrNotExist) && !s.sizesSet {
		return all, nil
	}
	if err != nil {
		return nil, api.Errorf(api.CodeUsage, "reading the sizes: %w", err).WithHint("see backend.libvirt.sizes")
	}
	own, err := parseSizes(text, s.sizes)
	if err != nil {
		return nil, err
	}
	return mergeSizes(all, own), nil
}

func mergeSizes(all, own []size) []size {
	all = slices.Clone(all)
	byName := map[string]int{}
	for i, z := range all {
		byName[z.Name] = i
	}
	hasDefault := false
	for _, z := range own {
		hasDefault = hasDefault || z.Default
	}
	for i := range all {
		all[i].Default = all[i].Default && !hasDefault
	}
	for _, z := range own {
		z.own = true
		if i, ok := byName[z.Name]; ok {
			z.Default = z.Default || all[i].Default
			all[i] = z
		} else {
			all = append(all, z)
		}
	}
	return all
}

// lacks says what the host has too little of for a size.
func lacks(z size, h hostFacts, fits func(z size) bool) (out []string) {
	if z.VCPUs > h.vcpus {
		out = append(out, fmt.Sprintf("it has %d of %d vCPUs", h.vcpus, z.VCPUs))
	}
	if z.memory > h.memory {
		out = append(out, fmt.Sprintf("it has %s of %s of memory", humanize.IBytes(uint64(h.memory)),
			humanize.IBytes(uint64(z.memory))))
	}
	if z.GPUs > 0 && !fits(z) {
		out = append(out, fmt.Sprintf("it has fewer than %d GPUs%s that machines can be given", z.GPUs, named(z.GPU)))
	}
	return out
}

func named(gpu string) string {
	if gpu == "" {
		return ""
	}
	return " named " + gpu
}

// offered leaves out what the host can't hold, and sees to it that exactly one size is the default.
func offered(all []size, h hostFacts, fits func(z size) bool) []size {
	var out []size
	found := -1
	for _, z := range all {
		if len(lacks(z, h, fits)) > 0 {
			continue
		}
		if z.Default = z.Default && found < 0; z.Default {
			found = len(out)
		}
		out = append(out, z)
	}
	if found >= 0 || len(out) == 0 {
		return out
	}
	// The largest that has no GPU, so that a default never takes one from others.
	best := 0
	for i, z := range out {
		if z.GPUs == 0 && (out[best].GPUs > 0 || z.memory > out[best].memory) {
			best = i
		}
	}
	out[best].Default = true
	return out
}

// Sizes implements backend.Backend: the catalogue, cut to what the host has.
func (b *Backend) Sizes(ctx context.Context) ([]api.Size, error) {
	all, err := b.cfg.catalogue()
	if err != nil {
		return nil, err
	}
	h, err := b.hostFacts(ctx)
	if err != nil {
		return nil, err
	}
	gpus, err := b.hostGPUs(ctx)
	if err != nil {
		return nil, err
	}
	out, free := []api.Size{}, 0.0 // the host is the user's own: it costs nothing that Berth knows of
	for _, z := range offered(all, h, gpus.fits) {
		s := api.Size{Name: z.Name, Backend: Name, Description: z.Description, VCPUs: z.VCPUs, MemoryBytes: z.memory,
			DiskBytes: z.disk, GPUs: []api.GPU{}, Family: "cpu", Default: z.Default, PriceUSD: &free}
		if z.GPUs > 0 {
			s.Family, s.GPUs = "gpu", gpus.offer(z)
			s.Description = fmt.Sprintf("%s; %s", z.Description, gpus.who(z))
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, api.Errorf(api.CodeCapacity, "the host of %s is smaller than every size: %d vCPUs, %s", b.cfg.uri.text,
			h.vcpus, humanize.IBytes(uint64(h.memory))).
			WithHint("describe one that fits in %s", b.cfg.sizes)
	}
	return out, nil
}

// size finds a size of the catalogue by name.
func (b *Backend) size(name string) (size, error) {
	all, err := b.cfg.catalogue()
	if err != nil {
		return size{}, err
	}
	for _, z := range all {
		if z.Name == name {
			return z, nil
		}
	}
	return size{}, api.Errorf(api.CodeUsage, "libvirt has no size %q", name).
		WithHint("berth sizes --backend libvirt lists them")
}
