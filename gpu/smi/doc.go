// Package smi is the last of the sources: one nvidia-smi that prints a line of each GPU each second, for as
// long as the source is open, and a second one now and then that lists processes. It is there for hosts
// whose library can't be loaded by this program; it knows less than NVML tells (no XIDs, no rates, no MIG
// devices, no shares of processes).
//
// What nvidia-smi prints is data from outside: columns that its version does not know are left out of the
// question, lines that can't be read are skipped, and a value in brackets is "not supported".
package smi
