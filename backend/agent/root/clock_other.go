//go:build !linux

package root

import (
	"errors"
	"time"
)

func setClock(time.Time) error { return errors.New("this system's clock can't be set by Berth") }
