// Command berth-probe asks the NVIDIA driver for figures and prints them as lines of JSON, for an agent that
// must not be harmed by what the driver does. Built with cgo it uses NVIDIA's own bindings; built without
// (and with the tag nvml) a loader of its own, which runs with older C libraries too.
//
// berth-probe check compares what it reads with what nvidia-smi says.
package main

import (
	"os"

	"berth/gpu/check"
	"berth/gpu/nvml/gonvml"
	"berth/gpu/probe/child"
)

func main() {
	sources := append([]child.Source{{Name: "go-nvml", Built: gonvml.Built, Open: gonvml.Open}}, child.Portable()...)
	if len(os.Args) > 1 && os.Args[1] == "check" {
		os.Exit(check.Main(os.Args[2:], os.Stdout, os.Stderr, sources...))
	}
	os.Exit(child.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, sources...))
}
