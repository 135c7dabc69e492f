// Command berth is Berth: the dashboard, the verbs, the daemon, and in a development build also the
// agent and its parts.
//
// main.go starts; app.go is what every verb shares (streams, client, errors, exit codes); each verb is a
// small file of its own that parses, calls and prints. output.go prints, for people and for
// programs.
package main
