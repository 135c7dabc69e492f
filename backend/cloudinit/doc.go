// Package cloudinit writes what a fresh machine reads at its first boot: who may sign in, its SSH host
// key, its name. The templates are under assets/cloud-init; the seed image is what cloud-init calls
// NoCloud. Clouds that take user data take the same text.
package cloudinit
