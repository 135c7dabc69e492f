package part

import "path/filepath"

// The folders that jobs are submitted with (--sync) are below one of the agent's state.

// SentDir is the folder that was sent last under a key: what its sender changes next is compared with it.
func (o *Options) SentDir(key string) string { return filepath.Join(o.State, "code", "sent", key) }

// TakenDirs has a folder for each job that is submitted with one, under its UUID.
func (o *Options) TakenDirs() string { return filepath.Join(o.State, "code", "taken") }

// TakenDir is the folder of its own of the job that is submitted with a UUID. Jobs write into it.
func (o *Options) TakenDir(uuid string) string { return filepath.Join(o.TakenDirs(), uuid, "code") }
