// Package code says which code a job's folder has: the commit of its git repository, and whether files are changed.
//
// A repository may be hostile: its own configuration can name programs that git runs. None of them is run here
// (look.go): where that can't be had, whether files are changed is not looked at.
package code
