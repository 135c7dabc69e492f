// Package check compares what Berth reads of the GPUs with what nvidia-smi says of them, figure by figure. It
// is for machines with GPUs (make gpu-check): identity, sizes, limits and modes must be equal, temperatures
// within 1 °C, and the means of what changes within 3 %.
package check
