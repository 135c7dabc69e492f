package ssh

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// Explain says, without building anything, where the agent for a system would come from; an error
// says why there is none.
func (b *Binaries) Explain(ctx context.Context, goos, goarch string) (string, error) {
	if b.Embedded != nil {
		if _, ok, err := b.Embedded(ctx, goos, goarch); err == nil && ok {
			return "carried by this build", nil
		}
	}
	self, static, err := b.self(goos, goarch)
	if static {
		return "this program itself", nil
	}
	_, rootErr := b.root()
	_, goErr := exec.LookPath("go")
	switch {
	case rootErr == nil && goErr == nil:
		return "built by the go tool when first needed", nil
	case self != "":
		return "this program itself, where the host has the C library that it needs", nil
	}
	if goErr != nil {
		goErr = errors.New("there is no go tool to build it with")
	}
	return "", fmt.Errorf("%w", errors.Join(err, rootErr, goErr))
}
