// Package figures is the part of the agent that measures its host: GPUs, processor, memory, disks, processes, and the
// history of them. What is measured, and how, is package gpu's; here it is served, and processes get their owners.
package figures
