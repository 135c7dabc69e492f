package child

import (
	"berth/gpu/nvml/loader"
	"berth/gpu/smi"
)

// Portable are the sources that need no cgo: the loader, where this program has it, and nvidia-smi.
func Portable() []Source {
	return []Source{
		{Name: "nvml", Built: loader.Built, Open: loader.Open},
		{Name: "nvidia-smi", Built: true, Open: smi.Open},
	}
}
