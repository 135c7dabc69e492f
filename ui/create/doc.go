// Package create is the form that makes an instance. What can be chosen comes from the service; a
// name is checked while it is typed, first here by the rules, then by the service against what exists.
package create
