// Package gpu says what is measured on a host (sample.go), which figures are kept (metrics.go), what a source of
// figures of GPUs is (source.go), and which GPUs there are (detect.go).
//
// Below it: nvml and smi are the sources; probe runs them in a process of its own, so that a driver that
// hangs or a missing symbol ends that process only; host, procs and history measure and keep the rest; monitor
// brings all together in one loop; attention finds what somebody should look at; prom writes it for Prometheus;
// check compares it with nvidia-smi. nvmltest is a fake driver for tests. Nothing here knows instances or screens.
package gpu
