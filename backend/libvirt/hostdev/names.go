package hostdev

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

func vendorName(id uint16) string {
	switch id {
	case vendorNVIDIA:
		return "NVIDIA"
	case vendorAMD:
		return "AMD"
	case vendorIntel:
		return "Intel"
	}
	return ""
}

var (
	bracketed = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\[([^\[\]]+)\]`) })
	formFirst = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b(PCIe|SXM\d?) (\d+GB)\b`) })
	sizeWord  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b(\d{1,3}) ?GB\b`) })
	vgpuSize  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`-(\d{1,3})[ABCQ](?:ME)?$`) })
)

// modelName makes "NVIDIA A100 80GB PCIe" of "GA100 [A100 PCIe 80GB]", the way the PCI database says it.
func modelName(vendor, product uint16, name string) string {
	if m := bracketed().FindStringSubmatch(name); m != nil {
		name = m[1]
	}
	name = strings.TrimPrefix(strings.Join(strings.Fields(name), " "), "Tesla ")
	v := vendorName(vendor)
	if name == "" {
		return fmt.Sprintf("%s GPU %04x:%04x", v, vendor, product)
	}
	name = formFirst().ReplaceAllString(name, "$2 $1")
	if strings.HasPrefix(name, v) {
		return name
	}
	return v + " " + name
}

// memoryGiB are models that come with one size of memory only and do not say it in their names.
var memoryGiB = map[string]int64{
	"NVIDIA T4": 16, "NVIDIA P4": 8, "NVIDIA P40": 24, "NVIDIA A2": 16, "NVIDIA A10": 24, "NVIDIA A10G": 24,
	"NVIDIA A16": 16, "NVIDIA A30": 24, "NVIDIA A30 PCIe": 24,
	"NVIDIA A40": 48, "NVIDIA L4": 24, "NVIDIA L40": 48, "NVIDIA L40S": 48, "NVIDIA H100 PCIe": 80,
	"NVIDIA RTX A4000": 16, "NVIDIA RTX A4500": 20, "NVIDIA RTX A5000": 24, "NVIDIA RTX A6000": 48,
	"NVIDIA RTX 4000 Ada Generation": 20, "NVIDIA RTX 5000 Ada Generation": 32, "NVIDIA RTX 6000 Ada Generation": 48,
	"NVIDIA Quadro RTX 5000": 16, "NVIDIA Quadro RTX 6000": 24, "NVIDIA Quadro RTX 8000": 48, "NVIDIA TITAN RTX": 24,
	"NVIDIA TITAN V":          12,
	"NVIDIA GeForce GTX 1080": 8, "NVIDIA GeForce GTX 1080 Ti": 11, "NVIDIA GeForce RTX 2080 Ti": 11,
	"NVIDIA GeForce RTX 3090": 24, "NVIDIA GeForce RTX 3090 Ti": 24,
	"NVIDIA GeForce RTX 4080": 16, "NVIDIA GeForce RTX 4090": 24, "NVIDIA GeForce RTX 5080": 16,
	"NVIDIA GeForce RTX 5090": 32,
	"AMD Instinct MI100":      32, "AMD Instinct MI210": 64, "AMD Instinct MI300X": 192, "AMD Instinct MI325X": 256,
}

// memoryOf tells a GPU's memory by its name; 0 where it can't.
func memoryOf(name string) int64 {
	const gib = 1 << 30
	if n, ok := memoryGiB[name]; ok {
		return n * gib
	}
	for _, re := range []*regexp.Regexp{sizeWord(), vgpuSize()} {
		// Two sizes in one name ("16GB / 32GB") tell nothing.
		if m := re.FindAllStringSubmatch(name, -1); len(m) == 1 {
			if n, err := strconv.ParseInt(m[0][1], 10, 64); err == nil {
				return n * gib
			}
		}
	}
	return 0
}
