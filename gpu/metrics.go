package gpu

// Kinds of what a metric is of.
const (
	KindGPU     = "gpu"     // Series.Subject is its UUID
	KindHost    = "host"    // empty
	KindDisk    = "disk"    // its mount point
	KindNetwork = "network" // the interface
	KindDevice  = "device"  // the block device
)

// Metric is one figure that the history keeps.
type Metric struct {
	Name string // ends with its unit
	Kind string
	Unit string // "percent", "bytes", "bytes_per_second", "celsius", "watts", "mhz", "" (a number)
	Help string
}

// Metrics are all figures that the history keeps, in the order in which they are shown.
func Metrics() []Metric {
	return []Metric{
		{"gpu_utilization_percent", KindGPU, "percent", "share of the time in which a kernel ran"},
		{"gpu_memory_used_bytes", KindGPU, "bytes", "memory in use, without what the driver reserves"},
		{"gpu_memory_utilization_percent", KindGPU, "percent", "share of the time in which memory was read or written"},
		{"gpu_temperature_celsius", KindGPU, "celsius", "temperature of the chip"},
		{"gpu_power_watts", KindGPU, "watts", "power drawn"},
		{"gpu_sm_clock_mhz", KindGPU, "mhz", "clock of the processors"},
		{"gpu_pcie_rx_bytes_per_second", KindGPU, "bytes_per_second", "over PCIe into the GPU"},
		{"gpu_pcie_tx_bytes_per_second", KindGPU, "bytes_per_second", "over PCIe out of the GPU"},
		{"gpu_nvlink_rx_bytes_per_second", KindGPU, "bytes_per_second", "over all NVLinks into the GPU"},
		{"gpu_nvlink_tx_bytes_per_second", KindGPU, "bytes_per_second", "over all NVLinks out of the GPU"},
		{"cpu_percent", KindHost, "percent", "of all processors"},
		{"iowait_percent", KindHost, "percent", "idle while a disk was waited for"},
		{"steal_percent", KindHost, "percent", "taken by the hypervisor"},
		{"load1", KindHost, "", "load average of a minute"},
		{"memory_used_bytes", KindHost, "bytes", "without caches"},
		{"memory_cache_bytes", KindHost, "bytes", "caches"},
		{"swap_used_bytes", KindHost, "bytes", "swap in use"},
		{"swap_in_bytes_per_second", KindHost, "bytes_per_second", "read back from swap"},
		{"swap_out_bytes_per_second", KindHost, "bytes_per_second", "written to swap"},
		{"pressure_cpu_percent", KindHost, "percent", "share of the time in which some process waited for a processor"},
		{"pressure_memory_percent", KindHost, "percent", "share of the time in which some process waited for memory"},
		{"pressure_io_percent", KindHost, "percent", "share of the time in which some process waited for a disk"},
		{"disk_used_percent", KindDisk, "percent", "used of what users can use; of disks only the mean is kept"},
		{"disk_used_bytes", KindDisk, "bytes", "used"},
		{"disk_available_bytes", KindDisk, "bytes", "available to users"},
		{"disk_inodes_used_percent", KindDisk, "percent", "inodes used"},
		{"network_rx_bytes_per_second", KindNetwork, "bytes_per_second", "received"},
		{"network_tx_bytes_per_second", KindNetwork, "bytes_per_second", "sent"},
		{"disk_read_bytes_per_second", KindDevice, "bytes_per_second", "read from the block device"},
		{"disk_write_bytes_per_second", KindDevice, "bytes_per_second", "written to the block device"},
		{"disk_busy_percent", KindDevice, "percent",
			"share of the time in which the block device worked; only the mean is kept"},
	}
}
