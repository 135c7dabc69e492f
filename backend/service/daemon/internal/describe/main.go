// Command describe writes the OpenAPI description of the workspace and the agent to the file named by
// its argument; go generate runs it.
package main

import (
	"fmt"
	"os"

	"berth/backend/agent"
	"berth/backend/api/openapi"
	"berth/backend/service/daemon"
)

func main() {
	b, err := openapi.Describe("Berth", "1", openapi.Service{Tag: "workspace", Routes: new(daemon.Server).Routes()},
		openapi.Service{Tag: "agent", Prefix: "/v1/instances/{name}/agent", Routes: agent.Routes()})
	if err == nil {
		err = os.WriteFile(os.Args[1], append(b, '\n'), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
