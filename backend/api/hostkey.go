package api

import (
	"context"
	"errors"
	"net/http"
)

// The steps of a host key's renewal.
const (
	HostKeyNew = "new" // make one, unless it is made already, and show it
	HostKeyUse = "use" // let sshd use it
)

// HostKeyRequest is one step of the renewal of an instance's host key.
type HostKeyRequest struct {
	Step string `json:"step"` // "new" or "use"
}

// HostKey is what an instance says of the host key that it made.
type HostKey struct {
	PublicKey string `json:"public_key,omitempty"` // a line as in authorized_keys; after the step new
}

// RenewHostKey does one step of the renewal of an instance's host key. CodeForbidden: the instance's user
// has no root there. CodeUnsupported: its agent is older than this.
func (c *AgentClient) RenewHostKey(ctx context.Context, step string) (HostKey, error) {
	var k HostKey
	err := c.call(ctx, http.MethodPost, "/v1/hostkey", HostKeyRequest{step}, &k)
	if errors.Is(err, &Error{Code: CodeNotFound}) {
		err = Errorf(CodeUnsupported, "the agent there is older than this Berth and can't renew a host key").
			WithHint("it is replaced the next time that Berth connects to it")
	}
	return k, err
}
