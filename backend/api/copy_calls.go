package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// CopyRequest begins a copy between the caller and an instance, as package filecopy has it. Paths are any bytes (base64
// in JSON); a relative one is below the home folder of the login user, and "~" is that folder.
type CopyRequest struct {
	// Send is what the instance sends.
	Send []byte `json:"send,omitempty"`
	// Count has it counted beforehand.
	Count bool `json:"count,omitempty"`

	// To is where the instance puts what the caller sends; only one of Send, To and Sent is said.
	To []byte `json:"to,omitempty"`
	// Sent has it put into a folder of the agent's own, which is known by this key: 32 hexadecimal digits.
	Sent string `json:"sent,omitempty"`
	// Kept is the UUID of the job that is kept, for KeepFolder.
	Kept string `json:"kept,omitempty"`
	// Folder, Contents, Update, List and Dry are those of filecopy.Receiver.
	Folder   bool `json:"folder,omitempty"`
	Contents bool `json:"contents,omitempty"`
	Update   bool `json:"update,omitempty"`
	List     bool `json:"list,omitempty"`
	Dry      bool `json:"dry,omitempty"`
}

// TakeRequest has a folder that was sent copied for the job that is to be submitted with a UUID.
type TakeRequest struct {
	Sent string `json:"sent"` // the key of CopyRequest
	UUID string `json:"uuid"`
	// Move has the folder that was sent become the job's own: nothing else is sent under the key.
	Move bool `json:"move,omitempty"`
}

// Taken is a job's own folder. Files and Bytes are 0 where it was there already.
type Taken struct {
	Path  string `json:"path"`
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
}

// Take makes a job's own folder from one that was sent.
func (c *AgentClient) Take(ctx context.Context, q TakeRequest) (Taken, error) {
	var v Taken
	return v, c.call(ctx, http.MethodPost, "/v1/copy/take", q, &v)
}

// KeepFolder sends a folder, by package filecopy, that the service keeps for the job that is submitted with a UUID and
// waits for its instance. It is asked of the service, not of the agent.
func (c *AgentClient) KeepFolder(ctx context.Context, uuid string) (*Stream, error) {
	return c.transport().openStream(ctx, c.prefix+"/v1/copy/keep", CopyRequest{Kept: uuid}, nil)
}

// OpenCopy begins a copy, whose bytes are those of package filecopy.
func (c *AgentClient) OpenCopy(ctx context.Context, q CopyRequest) (*Stream, error) {
	s, err := c.transport().openStream(ctx, c.prefix+"/v1/copy", q, nil)
	var e *Error
	if errors.As(err, &e) && e.Code == CodeNotFound && strings.HasPrefix(e.Message, "there is no "+http.MethodPost+" /v1/copy") {
		return nil, Errorf(CodeVersion, "the agent there is older than this Berth and can't copy files").
			WithHint("it is updated the next time that Berth connects to it: berth daemon stop, and run it again")
	}
	return s, err
}
