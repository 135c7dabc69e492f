// Package nvml turns NVIDIA's management library into a gpu.Source. What to ask, how often, and what the
// answers mean is here, once; how a call reaches the library is behind Library, which has two
// implementations: nvml/gonvml (NVIDIA's own bindings, with cgo) and nvml/loader (without cgo). A
// conformance test in nvml/conformance holds them against each other on a fake driver.
//
// What costs what: identity, limits that can't change and the topology are read once; fans, ECC, link
// widths, modes and the list of MIG devices every 5 s; PCIe and NVLink throughput, whose calls block for
// 20 ms each, in a goroutine of their own; XIDs come by the driver's events in another.
//
// A library call can hang in the driver or, with lazily bound symbols, end the process: this package runs
// in a child process (gpu/probe), never in the agent itself.
package nvml
