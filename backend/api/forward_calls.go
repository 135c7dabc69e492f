package api

import (
	"context"
	"errors"
	"net/http"

	"berth/gpu"
)

// Forwards is that an agent lists what listens on its instance, and connects to it.
var Forwards = Feature{What: "a forward", Since: 4, In: "0.2.0"}

// ForwardRequest is the first frame of a forward's stream: connect to a TCP port of the instance (127.0.0.1, then ::1,
// then where the port is listened on), or to a unix socket there; one of them is said. Bytes go both ways then, each
// way with an end of its own; see package wire.
type ForwardRequest struct {
	Port int `json:"port,omitempty"`
	// Socket is an absolute path, any bytes (base64 in JSON).
	Socket []byte `json:"socket,omitempty"`
}

// Ports is what an instance listens on.
type Ports struct {
	Ports []Port `json:"ports"`
	// Network names the network that its ports are in: a local instance's is often that of this very computer. Empty: it
	// can't be told.
	Network string `json:"network,omitempty"`
	// Warnings say what is missing in the list.
	Warnings []string `json:"warnings,omitempty"`
}

// Port is a TCP port, or a unix socket, that processes of an instance listen on.
type Port struct {
	Port      int      `json:"port,omitempty"`
	Addresses []string `json:"addresses,omitempty"` // of the port
	Socket    string   `json:"socket,omitempty"`    // the path of a unix socket
	// PID is the process that listens, the oldest where several do; 0: it can't be seen, and Note says why. Processes
	// is how many have it open.
	PID       int       `json:"pid,omitempty"`
	Processes int       `json:"processes,omitempty"`
	User      string    `json:"user"`
	Command   string    `json:"command"`
	Owner     gpu.Owner `json:"owner,omitzero"` // whose it is: a job's, terminal's, …; zero: a stranger to Berth
	Note      string    `json:"note,omitempty"`
}

// PortsClient calls an agent about what listens on its instance; PortsOf makes one.
type PortsClient struct{ c *AgentClient }

// PortsOf is the client of an agent's ports. Its connections are closed with c's.
func PortsOf(c *AgentClient) PortsClient { return PortsClient{c} }

// List is what the instance listens on, in the order of the ports; unix sockets come last.
func (p PortsClient) List(ctx context.Context) (Ports, error) {
	var v Ports
	err := p.c.call(ctx, http.MethodGet, "/v1/ports", nil, &v)
	return v, tooOldFor(err, "/v1/ports", "listing its ports")
}

// Open connects to what listens on the instance. The stream begins with a Started frame once it is connected; package
// forward does the rest.
func (p PortsClient) Open(ctx context.Context, q ForwardRequest) (*Stream, error) {
	s, err := p.c.transport().openStream(ctx, p.c.prefix+"/v1/forward", q, nil)
	return s, tooOldFor(err, "/v1/forward", "forward")
}

// tooOldFor says of an agent that has no such route that it is too old.
func tooOldFor(err error, path, what string) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Code != CodeNotFound || e.Message != "there is no "+http.MethodGet+" "+path &&
		e.Message != "there is no "+http.MethodPost+" "+path {
		return err
	}
	return Errorf(CodeVersion, "the agent there is too old for %s", what).
		WithHint("it is updated the next time that Berth connects to it: berth daemon stop, and run it again")
}
