//go:build !front

package main

// The backends of this program; each registers itself.
import (
	_ "berth/backend/libvirt"
	_ "berth/backend/local"
	_ "berth/backend/ssh"
)
