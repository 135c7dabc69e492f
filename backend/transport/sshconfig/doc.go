// Package sshconfig finds out how the user's own ssh would reach a host.
//
// Resolve asks `ssh -G` where an OpenSSH client is in the caller's PATH: it is exact, for Match,
// Include and canonical names too. Otherwise it reads the two configuration files itself (file.go),
// with what the library can't do said in Host.Warnings; a file that can't be read never makes it fail.
//
// OpenSSH's tokens (%h, %d …) are replaced as each keyword accepts them (tokens.go).
package sshconfig
