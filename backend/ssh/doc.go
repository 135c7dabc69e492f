// Package ssh is the backend of machines that already exist and are reached over SSH.
//
// It has no provider: it can't list, create, start or stop; what it knows of a machine the machine says
// itself, over the line that the workspace's backend.Prober (Env.Remote) keeps. Adopt identifies a
// machine and changes nothing on it; Delete only forgets it.
package ssh
