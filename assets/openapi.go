package assets

import _ "embed"

// OpenAPI is the description of the workspace's and the agent's HTTP services, as `berth api` prints it.
//
//go:embed openapi.json
var OpenAPI []byte
