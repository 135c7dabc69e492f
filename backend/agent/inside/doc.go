// Package inside is Berth as seen from within an instance: how a program that runs there finds the agent, in which
// folder and environment a job is to run that is submitted there, and what `berth` is in a terminal of an instance on
// which nobody has installed Berth.
package inside
