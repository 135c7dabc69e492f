package agent

import (
	"os"
	"strings"
)

// cronProcess looks for a cron daemon among the processes.
func cronProcess() bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		if c := e.Name()[0]; c < '0' || c > '9' {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/comm")
		if err != nil {
			continue
		}
		switch strings.TrimSpace(string(b)) {
		case "cron", "crond", "fcron", "cronie":
			return true
		}
	}
	return false
}
