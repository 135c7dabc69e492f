//go:build !linux

package filecopy

import "errors"

func mountSmall(string) error { return errors.New("only on Linux") }
func unmount(string)          {}
