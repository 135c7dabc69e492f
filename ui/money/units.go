package money

import (
	"fmt"
	"math"
)

// The units of what is measured, as they stand behind a number: everywhere the same.
const (
	Percent = "%"
	Watt    = " W"
	MHz     = " MHz"
	Celsius = " °C"
)

// kilowatts is the power in watts from which on it is written in kilowatts: above that of any one GPU.
const kilowatts = 2000

// Figure writes what was measured in one of the units above, or in none, with one digit behind the point where that is
// much of it; nil is unknown.
func Figure(v *float64, unit string) string {
	switch {
	case v == nil:
		return Unknown
	case unit == Watt && math.Abs(*v) >= kilowatts:
		return fmt.Sprintf("%.1f kW", *v/1000)
	case math.Abs(*v) < 9.95 && *v != math.Trunc(*v):
		return fmt.Sprintf("%.1f", *v) + unit
	}
	return fmt.Sprintf("%.0f", *v) + unit
}

// FigureOf writes what was measured with the most that it may be, where that is known: "280/300 W".
func FigureOf(v, most *float64, unit string) string {
	if v == nil || most == nil {
		return Figure(v, unit)
	}
	return Figure(v, "") + "/" + Figure(most, unit)
}

// Energy is one in joules, in watt hours as meters have it: "0.34 Wh", "1.2 kWh".
func Energy(joules float64) string {
	switch wh := joules / 3600; {
	case wh >= 1000:
		return fmt.Sprintf("%.1f kWh", wh/1000)
	case wh >= 10:
		return fmt.Sprintf("%.0f Wh", wh)
	case wh >= 1:
		return fmt.Sprintf("%.1f Wh", wh)
	default:
		return fmt.Sprintf("%.2f Wh", wh)
	}
}
