// Command describe writes the OpenAPI description of the workspace and the agent to the file named by its argument; go
// generate runs it. Without an argument it prints which actions each of their routes needs (make routes).
package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"berth/backend/agent"
	"berth/backend/api"
	"berth/backend/api/openapi"
	"berth/backend/service/daemon"
)

func main() {
	if len(os.Args) < 2 {
		printRoutes(os.Stdout)
		return
	}
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

// printRoutes prints the routes of both services by path, each with the actions that one must be allowed to do for it,
// and on what.
func printRoutes(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	defer w.Flush()
	print := func(service, on string, routes []api.Route) {
		slices.SortStableFunc(routes, func(a, b api.Route) int { return cmp.Compare(a.Path, b.Path) })
		for _, r := range routes {
			about := on
			if r.OnInstance() {
				about = "instance"
			}
			needs := make([]string, len(r.Needs))
			for i, a := range r.Needs {
				needs[i] = string(a)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", service, r.Method, r.Path, about, strings.Join(needs, " "))
		}
	}
	fmt.Fprintln(w, "SERVICE\tMETHOD\tPATH\tON\tNEEDS")
	print("workspace", "workspace", new(daemon.Server).Routes())
	print("agent", "instance", agent.Routes())
}
