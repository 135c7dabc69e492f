package login

import "golang.org/x/sys/unix"

// getTermios is the call that reads the settings of a terminal.
const getTermios = unix.TCGETS
