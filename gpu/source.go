package gpu

import "context"

// Source reads the GPUs of this host. A source belongs to one goroutine.
type Source interface {
	// Name is what Sample.GPUSource says: "go-nvml", "nvml", "nvidia-smi".
	Name() string
	// Read takes all fast figures. What has its own slow loop (PCIe, NVLink, topology, ECC) is as it was read last.
	// A GPU that fails has its Error set; the call fails only if nothing can be read.
	Read(ctx context.Context) (Reading, error)
	// Close closes the driver.
	Close() error
}
