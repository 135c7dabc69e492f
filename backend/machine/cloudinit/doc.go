// Package cloudinit writes what a fresh machine reads at its first boot: who may sign in, its SSH host key, its name,
// and Berth's agent, which so is up when the first connection comes. The templates are under assets/cloud-init; the
// seed image is what cloud-init calls NoCloud. Clouds that take user data take the same text.
package cloudinit
