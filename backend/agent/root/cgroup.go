package root

import (
	"context"
	"io"

	"berth/backend/agent/process"
	"berth/backend/api"
)

// parseCgroupMake takes no arguments: whose groups they are is who called sudo, and where they are is fixed.
func parseCgroupMake(args []string) (action, error) {
	if len(args) != 0 {
		return nil, wrong("cgroup-make takes no arguments")
	}
	return func(context.Context, io.Writer) error {
		uid, err := callingUser()
		if err != nil {
			return err
		}
		if err := process.HandOver(uid); err != nil {
			return api.Errorf(api.CodeFailed, "making control groups: %w", err)
		}
		return nil
	}, nil
}
