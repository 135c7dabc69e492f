package queue

import "strings"

// WhyNot says of a job in a state why a verb is not for it: "is running: only what waits is held".
func WhyNot(s State, verb string) string {
	is := "is " + strings.ReplaceAll(string(s), "_", " ")
	if s == Succeeded || s == Failed {
		is = "has " + string(s)
	}
	switch verb {
	case "hold":
		return is + ": only what waits is held"
	case "release":
		return is + ": only what is held is released"
	case "pause":
		return is + ": only what runs is paused"
	case "resume":
		return is + ": only what is paused goes on"
	case "cancel":
		return is + ": only what waits or runs is cancelled"
	case "retry":
		return is + ": only what is done, and did not succeed, is run again"
	}
	return is + ": only what waits has an order"
}
