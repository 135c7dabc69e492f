// Package notify tells others that a job has ended: a command on the instance, or a webhook, which the user has set up
// under a name in a file that only they can read. What the file says stands nowhere else: not in a journal, a log, a
// command line, an error or an answer. Only the names do.
//
//	hooks.go    the file
//	rules.go    its rules: of which ends somebody is told though the job does not say so
//	notice.go   what is told
//	command.go  the command; webhook.go the webhook
package notify
