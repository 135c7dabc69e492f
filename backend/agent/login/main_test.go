package login

import (
	"flag"
	"os"
	"testing"

	"berth/backend/agent/agenttest"
)

// The test binary plays the program that shells are asked to run.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "agent" && os.Args[2] == "env" {
		if PrintEnv(os.Args[3], os.Stdout) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // they wait more than they work
	agenttest.OnlyTests()
	os.Exit(m.Run())
}
