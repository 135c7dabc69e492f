package money

import (
	"fmt"
	"strconv"

	"github.com/dustin/go-humanize"

	"berth/backend/api"
)

// Unknown stands for a figure that is not known; zero is written as zero.
const Unknown = "-"

// USD writes an amount of US dollars.
func USD(v float64) string {
	switch {
	case v == 0:
		return "$0"
	case v < 0.095 && v > -0.095:
		return fmt.Sprintf("$%.3f", v)
	case v >= 1000:
		return fmt.Sprintf("$%.0f", v)
	}
	return fmt.Sprintf("$%.2f", v)
}

// Maybe writes an amount that may be unknown.
func Maybe(v *float64) string {
	if v == nil {
		return Unknown
	}
	return USD(*v)
}

// Bytes writes a number of bytes in binary units.
func Bytes(n int64) string {
	if n <= 0 {
		return Unknown
	}
	return humanize.IBytes(uint64(n))
}

// GPUs writes the GPUs of an instance or size: "2× A100".
func GPUs(gs []api.GPU) string {
	if len(gs) == 0 {
		return Unknown
	}
	for _, g := range gs[1:] {
		if g.Name != gs[0].Name {
			return strconv.Itoa(len(gs)) + " GPUs"
		}
	}
	return strconv.Itoa(len(gs)) + "x " + Short(gs[0].Name)
}

// Short drops the maker's name from that of a GPU.
func Short(name string) string {
	for _, p := range []string{"NVIDIA ", "Tesla ", "GeForce ", "AMD "} {
		if len(name) > len(p) && name[:len(p)] == p {
			name = name[len(p):]
		}
	}
	return name
}
