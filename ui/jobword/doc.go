// Package jobword has the words for how a job ended, which the command line and the dashboard share.
package jobword
