// Command berth is Berth: the dashboard, the verbs, the daemon, and in a development build also the
// agent and its parts.
//
// main.go starts; app.go is what every verb shares (streams, client, errors, exit codes); each verb is a
// small file of its own that parses, calls and prints. output.go prints, for people and for
// programs.
//
// `make build` and releases have two programs in one file (front.go): a short one with the verbs that are run again and
// again, and in it, compressed, the whole one (whole.go), which it becomes for all others. Files with the build
// constraint !front are in the whole one alone.
package main
