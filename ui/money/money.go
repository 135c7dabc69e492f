package money

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"berth/backend/api"
)

// Unknown stands for a figure that is not known; zero is written as zero.
const Unknown = "-"

// USD writes an amount of US dollars. What costs nothing is "$0" everywhere, whether it is a price, a sum or a cost.
func USD(v float64) string {
	switch {
	case v == 0:
		return "$0"
	case v > 0 && v < 0.0005:
		return "<$0.001" // little, but not nothing
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

// PerHour writes a price an hour that may be unknown.
func PerHour(v *float64) string {
	if v == nil {
		return Unknown
	}
	return USD(*v) + "/h"
}

// Sum writes a sum to which something that is not known has to be added where more is true.
func Sum(v float64, more bool) string {
	switch {
	case !more:
		return USD(v)
	case v == 0:
		return Unknown
	}
	return USD(v) + "+?"
}

// Bytes writes a number of bytes in binary units, in at most eight characters: "0 B", "1.5 KiB", "24 GiB".
func Bytes(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// ReadBytes reads an amount of bytes that is not 0: "8GB", "512 MiB".
func ReadBytes(s string) (n int64, ok bool) {
	v, err := humanize.ParseBytes(s)
	return int64(v), err == nil && v > 0 && v <= 1<<60
}

// Of writes a part of a whole in one unit: "31/80 GiB". That is the whole's, unless too little would be left of the
// part: "472/1152 GiB".
func Of(part, whole int64) string {
	part, whole = max(part, 0), max(whole, 0)
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	unit := 0
	for v := whole; v >= 1024 && unit < len(units)-1; v /= 1024 {
		unit++
	}
	one := int64(1) << (10 * unit)
	if unit > 3 && part < one && whole < 10*one {
		unit--
		one >>= 10
	}
	in := func(n int64) string {
		digits := 0
		if n < 10*one {
			digits = 1
		}
		return strings.TrimSuffix(strconv.FormatFloat(float64(n)/float64(one), 'f', digits, 64), ".0")
	}
	return in(part) + "/" + in(whole) + " " + units[unit]
}

// Size writes the size of something that has one, if it is known; zero is unknown.
func Size(n int64) string {
	if n <= 0 {
		return Unknown
	}
	return Bytes(n)
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
