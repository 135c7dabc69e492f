// Package child is the process that asks the driver: it prints one gpu.Reading as a line of JSON each
// interval. Its parent (gpu/probe) says the interval by lines on its standard input ("every 1s"), and ends
// it by closing that. What goes wrong as a whole is a Reading with an Error, after which the process ends
// with code 3: its parent starts another, which loads the library anew, as an upgraded driver needs it.
//
// Which sources a program has is its main's business: gpu/nvml/gonvml, gpu/nvml/loader and gpu/smi, in this
// order. BERTH_GPU_SOURCE (go-nvml, nvml, nvidia-smi) picks one.
package child
