package hostdev

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirtxml"
	"pgregory.net/rapid"

	"berth/backend/api"
)

func devices(t testing.TB, name string) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".xml")
	require.NoError(t, err)
	parts := strings.SplitAfter(string(b), "</device>\n")
	return parts[:len(parts)-1]
}

func host(t testing.TB, name string) Host {
	t.Helper()
	h, err := Parse(devices(t, name))
	require.NoError(t, err)
	return h
}

func ofGPUs(gs []GPU) (out []string) {
	for _, g := range gs {
		out = append(out, g.ID)
	}
	return out
}

const gib = 1 << 30

func TestServer(t *testing.T) {
	h := host(t, "server")
	require.True(t, h.IOMMU)
	require.Equal(t, []string{"0000:41:00.0", "0000:42:00.0", "0000:c1:00.0", "0000:c2:00.0"}, ofGPUs(h.GPUs),
		"the screen chip is none")
	require.Equal(t, GPU{ID: "0000:41:00.0", Name: "NVIDIA A100 80GB PCIe", MemoryBytes: 80 * gib, Driver: "vfio-pci",
		Group: 50, VendorID: 0x10de, ProductID: 0x20b5}, h.GPUs[0])
	require.Equal(t, []string{"0000:41:00.0", "0000:42:00.0", "0000:c1:00.0"}, ofGPUs(h.Free("", nil, nil)))

	one, err := h.Allot(1, "a100", nil, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"0000:c1:00.0"}, ofGPUs(one), "the pair on one NUMA node stays together")
	two, err := h.Allot(2, "", nil, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"0000:41:00.0", "0000:42:00.0"}, ofGPUs(two))
	three, err := h.Allot(3, "", nil, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"0000:41:00.0", "0000:42:00.0", "0000:c1:00.0"}, ofGPUs(three))

	taken := Taken{"0000:41:00.0": "vision", "0000:42:00.0": "vision"}
	_, err = h.Allot(2, "", taken, nil)
	require.Equal(t, api.CodeCapacity, api.AsError(err).Code)
	require.ErrorContains(t, err, "1 of 4 free")
	require.ErrorContains(t, err, "0000:41:00.0 NVIDIA A100 80GB PCIe: held by vision")
	require.ErrorContains(t, err, "0000:c2:00.0 NVIDIA A100 80GB PCIe: the host uses it (driver nvidia)")
	two, err = h.Allot(2, "", taken, []string{"c2:00.0"})
	require.NoError(t, err, "it was named")
	require.Equal(t, []string{"0000:c1:00.0", "0000:c2:00.0"}, ofGPUs(two))
	_, err = h.Allot(5, "", nil, nil)
	require.Equal(t, api.CodeCapacity, api.AsError(err).Code)
	require.ErrorContains(t, err, "the host has 4")
	_, err = h.Allot(1, "H100", nil, nil)
	require.ErrorContains(t, err, `"H100": the host has 0`)
	require.Empty(t, h.Free("A10", nil, nil), "an A100 is no A10")
	require.Len(t, h.Free("a100  80gb", nil, nil), 3)
	none, err := h.Allot(0, "", nil, nil)
	require.NoError(t, err)
	require.Empty(t, none)

	cs := h.Check(taken, nil)
	require.Len(t, cs, 4)
	require.Equal(t, "NVIDIA A100 80GB PCIe: held by vision", cs[0].Message)
	require.Equal(t, "NVIDIA A100 80GB PCIe is free", cs[2].Message)
	require.Contains(t, cs[3].Fix, "options vfio-pci ids=10de:20b5")
	require.Contains(t, cs[3].Fix, `gpus = "0000:c2:00.0"`)
}

func TestDesk(t *testing.T) {
	h := host(t, "desk")
	require.Len(t, h.GPUs, 1)
	g := h.GPUs[0]
	require.Equal(t, "NVIDIA GeForce RTX 2080 Ti Rev. A", g.Name)
	require.True(t, g.BootVGA)
	require.Zero(t, g.MemoryBytes)
	require.Equal(t, -1, g.NUMA)
	require.Len(t, g.Functions, 3)
	require.Empty(t, g.Shared)
	_, err := h.Allot(1, "", nil, nil)
	require.ErrorContains(t, err, "it draws the host's screen")
	c := h.Check(nil, nil)
	require.Equal(t, "info", c[0].Status)
	require.Contains(t, c[0].Fix, "goes dark")

	gs, err := h.Allot(1, "GeForce", nil, []string{"pci_0000_01_00_0"})
	require.NoError(t, err, "it was named")
	devs, err := DomainHostdevs(gs)
	require.NoError(t, err)
	require.Len(t, devs, 4, "its audio and USB go along")
	require.Equal(t, []string{"0000:01:00.0", "0000:01:00.1", "0000:01:00.2", "0000:01:00.3"}, DomainIDs(devs))
	require.Equal(t, DomainIDs(devs), IDs(gs))
	for _, d := range devs {
		require.Equal(t, "yes", d.Managed, "the host gets it back")
	}
	_, err = h.Allot(1, "", Taken{"0000:01:00.1": "other"}, []string{"01:00.0"})
	require.ErrorContains(t, err, "its function 0000:01:00.1 is held by other")
}

// TestGroups has two cards, both kept for machines, in one group with a network card of the host's.
func TestGroups(t *testing.T) {
	h := host(t, "shared")
	require.Equal(t, []string{"0000:01:00.0", "0000:02:00.0"}, ofGPUs(h.GPUs), "graphics of the processor are none")
	require.False(t, h.GPUs[0].BootVGA)
	require.Len(t, h.GPUs[0].Functions, 1)
	require.Len(t, h.GPUs[0].Shared, 3)
	require.EqualValues(t, 24*gib, h.GPUs[0].MemoryBytes)
	_, err := h.Allot(1, "", nil, []string{"01:00.0", "02:00.0"})
	require.ErrorContains(t, err, "its IOMMU group 15 has 0000:03:00.0 (Ethernet Controller I225-V) too, which the host uses (driver igc)")
	c := h.Check(nil, nil)
	require.Equal(t, "warn", c[0].Status)
	require.Contains(t, c[0].Fix, "slot")

	named := []string{"0000:03:00.0"}
	both, err := h.Allot(2, "", nil, named)
	require.NoError(t, err, "two of a group can go to one machine")
	devs, err := DomainHostdevs(both)
	require.NoError(t, err)
	require.Equal(t, []string{"0000:01:00.0", "0000:01:00.1", "0000:02:00.0", "0000:02:00.1"}, DomainIDs(devs),
		"what is of neither card stays")
	require.Equal(t, "no", devs[0].Managed, "the host has given it away for good")
	_, err = h.Allot(1, "", Taken{"0000:01:00.0": "vision"}, named)
	require.ErrorContains(t, err, "0000:01:00.0 of the same IOMMU group is held by vision")
}

func TestMediated(t *testing.T) {
	h := host(t, "vgpu")
	require.Len(t, h.GPUs, 4)
	m := h.GPUs[2]
	require.Equal(t, GPU{ID: "4b20d080-1b54-4048-85b3-a6a62d165c01", Name: "NVIDIA V100-8Q", MemoryBytes: 8 * gib,
		Mediated: true, MDevType: "nvidia-107", Parent: "0000:3b:00.0",
		Driver: "vfio_mdev", Group: 101, VendorID: 0x10de, ProductID: 0x1db4}, m)
	require.Equal(t, "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", h.GPUs[3].ID, "an older libvirt says it in the name only")
	require.Equal(t, MDevType{Parent: "0000:d8:00.0", ID: "nvidia-107", Name: "GRID V100-8Q", Available: 2}, h.Types[3])
	for _, kind := range []string{"", "V100"} {
		_, err := h.Allot(1, kind, nil, nil)
		require.ErrorContains(t, err, "it is divided into parts", "a part is no whole GPU")
	}
	for _, kind := range []string{"nvidia-107", "v100-8q"} {
		gs, err := h.Allot(1, kind, Taken{m.ID: "vision"}, nil)
		require.NoError(t, err)
		require.Equal(t, h.GPUs[3].ID, gs[0].ID)
		devs, err := DomainHostdevs(gs)
		require.NoError(t, err)
		x, err := (&libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{Hostdevs: devs}}).Marshal()
		require.NoError(t, err)
		require.Contains(t, x, `<hostdev mode="subsystem" type="mdev" model="vfio-pci" display="off" managed="no">`)
		require.Contains(t, x, `<address uuid="83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"></address>`)
		require.Equal(t, []string{h.GPUs[3].ID}, DomainIDs(devs))
	}
	_, err := h.Allot(1, "nvidia-107", Taken{"0000:3b:00.0": "vision"}, nil)
	require.ErrorContains(t, err, "the GPU 0000:3b:00.0, of which it is a part, is held by vision")
	c := h.Check(nil, nil)
	last := c[len(c)-1]
	require.Equal(t, "0000:d8:00.0", last.Name)
	require.Contains(t, last.Fix, "mdevctl start -u $(uuidgen) -p 0000:d8:00.0 --type nvidia-105")
}

func TestAMDAndOthers(t *testing.T) {
	h := host(t, "amd")
	require.Equal(t, []string{"AMD Instinct MI300X", "AMD Instinct MI300X", "AMD Instinct MI210"}, []string{h.GPUs[0].Name,
		h.GPUs[1].Name, h.GPUs[2].Name})
	require.EqualValues(t, 192*gib, h.GPUs[0].MemoryBytes)
	free := h.Free("", nil, nil)
	require.Equal(t, []string{"0000:26:00.0", "0000:46:00.0"}, ofGPUs(free))
	devs, err := DomainHostdevs(free)
	require.NoError(t, err)
	require.Equal(t, "yes", devs[0].Managed, "no driver has it: libvirt binds it")
	_, err = h.Allot(2, "", nil, nil)
	require.ErrorContains(t, err, "of different models")

	h = host(t, "off")
	require.False(t, h.IOMMU)
	require.EqualValues(t, 16*gib, h.GPUs[0].MemoryBytes)
	_, err = h.Allot(1, "", nil, []string{"01:00.0"})
	require.ErrorContains(t, err, "the IOMMU is off")
	c := h.Check(nil, []string{"01:00.0", "09:00.0", "the big one"})
	require.Equal(t, "IOMMU", c[0].Name)
	require.Contains(t, c[0].Fix, "intel_iommu=on")
	require.Contains(t, c[2].Message, "09:00.0, which this host does not have")
	require.Contains(t, c[3].Message, "no PCI address")

	h = host(t, "none")
	require.Empty(t, h.GPUs)
	require.Equal(t, "info", h.Check(nil, nil)[0].Status)
	_, err = h.Allot(1, "", nil, nil)
	require.ErrorContains(t, err, "1 × GPU: the host has 0")
}

func TestBrokenXML(t *testing.T) {
	good := devices(t, "off")[1]
	for name, text := range map[string]string{
		"cut":        good[:len(good)-20],
		"no address": strings.Replace(good, "<bus>1</bus>", "", 1),
		"bus":        strings.Replace(good, "<bus>1</bus>", "<bus>999</bus>", 1),
		"class":      strings.Replace(good, "0x030200", "vga", 1),
		"id":         strings.Replace(good, "0x10de", "0x10de0", 1),
		"empty":      "",
		"uuid":       "<device><name>mdev_1</name><capability type='mdev'><type id='x'/></capability></device>",
	} {
		_, err := Parse([]string{good, text})
		require.Error(t, err, name)
	}
	h, err := Parse([]string{good, good})
	require.NoError(t, err)
	require.Len(t, h.GPUs, 1)
}

func TestNormalize(t *testing.T) {
	for s, want := range map[string]string{"41:00.0": "0000:41:00.0", "0000:C1:00.1": "0000:c1:00.1",
		"pci_0000_41_00_0": "0000:41:00.0", " 10000:01:1f.7 ": "10000:01:1f.7",
		"4B20D080-1B54-4048-85B3-A6A62D165C01": "4b20d080-1b54-4048-85b3-a6a62d165c01"} {
		got, ok := Normalize(s)
		require.True(t, ok, s)
		require.Equal(t, want, got)
	}
	for _, s := range []string{"", "41", "41:00", "41:00.8", "41:20.0", "zz:00.0", "all"} {
		_, ok := Normalize(s)
		require.False(t, ok, s)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"GA100 [A100 SXM4 40GB]": "NVIDIA A100 40GB SXM4", "AD102GL [L40S]": "NVIDIA L40S", "TU104GL [Tesla T4]": "NVIDIA T4",
		"": "NVIDIA GPU 10de:20b5", "GH100 [H100 PCIe]": "NVIDIA H100 PCIe",
	} {
		require.Equal(t, want, modelName(vendorNVIDIA, 0x20b5, name))
	}
	for name, gb := range map[string]int64{"NVIDIA A100 40GB SXM4": 40, "NVIDIA L40S": 48, "NVIDIA H200 141GB SXM": 141,
		"NVIDIA V100 16GB / 32GB": 0, "NVIDIA GeForce RTX 3080": 0, "NVIDIA A100-10C": 10, "": 0} {
		require.Equal(t, gb*gib, memoryOf(name), name)
	}
}

// TestAllotIsSafe starts and stops machines at random on random hosts.
func TestAllotIsSafe(t *testing.T) {
	files := []string{"server", "desk", "shared", "vgpu", "amd", "off", "none"}
	all := map[string][]string{}
	for _, f := range files {
		all[f] = devices(t, f)
	}
	rapid.Check(t, func(t *rapid.T) {
		xmls := slices.Clone(all[rapid.SampledFrom(files).Draw(t, "host")])
		for i, x := range xmls { // drivers come and go
			if d := rapid.SampledFrom([]string{"", "vfio-pci", "nvidia", "keep", "keep", "keep", "keep", "keep", "keep",
				"keep"}).Draw(t, "driver"); d != "keep" && !strings.Contains(x, "type='mdev'") {
				j, k := strings.Index(x, "  <driver>"), strings.Index(x, "  </driver>\n")
				if j >= 0 {
					x = x[:j] + x[k+len("  </driver>\n"):]
				}
				if d != "" {
					x = strings.Replace(x, "  <capability", "  <driver>\n    <name>"+d+"</name>\n  </driver>\n  <capability", 1)
				}
				xmls[i] = x
			}
		}
		h, err := Parse(xmls)
		if err != nil {
			t.Fatal(err)
		}
		if len(h.GPUs) == 0 {
			return
		}
		pool := ofGPUs(h.GPUs)
		for _, g := range h.GPUs {
			for _, f := range g.Shared {
				pool = append(pool, f.Address)
			}
		}
		named := rapid.SliceOfN(rapid.SampledFrom(pool), 0, 3).Draw(t, "named")
		taken, held := Taken{}, map[string][]GPU{}
		for i := range rapid.IntRange(1, 12).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "stop") {
				var names []string
				for n := range held {
					names = append(names, n)
				}
				slices.Sort(names)
				name := rapid.SampledFrom(names).Draw(t, "which")
				for _, id := range IDs(held[name]) {
					delete(taken, id)
				}
				delete(held, name)
				continue
			}
			n := rapid.IntRange(1, 3).Draw(t, "n")
			kind := rapid.SampledFrom([]string{"", "nvidia", "A100", "nvidia-107", "instinct"}).Draw(t, "kind")
			free := h.Free(kind, taken, named)
			gs, err := h.Allot(n, kind, taken, named)
			if err != nil {
				counts := map[string]int{}
				for _, g := range free {
					if counts[g.Name]++; counts[g.Name] >= n {
						t.Fatalf("%d of %s are free: %v", n, g.Name, err)
					}
				}
				continue
			}
			if len(gs) != n {
				t.Fatalf("%d instead of %d", len(gs), n)
			}
			name := fmt.Sprintf("vm%d", i)
			for _, g := range gs {
				isNamed := slices.Contains(named, g.ID)
				if g.Name != gs[0].Name || !g.Mediated && (g.Group < 0 || !isNamed && (g.BootVGA || g.Driver != "" &&
					g.Driver != "vfio-pci")) {
					t.Fatalf("it must not be taken: %+v", g)
				}
				for other, os := range held {
					for _, o := range os {
						if g.Group >= 0 && g.Group == o.Group || g.Parent == o.ID || o.Parent == g.ID {
							t.Fatalf("%s and %s of %s are not apart", g.ID, o.ID, other)
						}
					}
				}
			}
			for _, id := range IDs(gs) {
				if who, ok := taken[id]; ok {
					t.Fatalf("%s is held by %s", id, who)
				}
				taken[id] = name
			}
			held[name] = gs
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"server", "desk", "shared", "vgpu", "amd", "none"} {
		for _, x := range devices(f, name) {
			f.Add(x)
		}
	}
	first := devices(f, "shared")[2]
	f.Fuzz(func(t *testing.T, x string) {
		h, err := Parse([]string{first, x})
		if err != nil {
			return
		}
		h.Check(Taken{"0000:01:00.0": "a"}, []string{x})
		for n := range 3 {
			gs, err := h.Allot(n, "", nil, nil)
			if err != nil {
				continue
			}
			devs, err := DomainHostdevs(gs)
			if err != nil || !slices.Equal(DomainIDs(devs), IDs(gs)) {
				t.Fatalf("%v %v %v", err, DomainIDs(devs), IDs(gs))
			}
		}
	})
}

func FuzzNormalize(f *testing.F) {
	f.Add("0000:41:00.0")
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := Normalize(s)
		if !ok {
			return
		}
		if again, ok := Normalize(n); !ok || again != n {
			t.Fatalf("%q → %q → %q", s, n, again)
		}
	})
}
