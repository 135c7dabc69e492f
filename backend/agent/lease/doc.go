// Package lease is the folder through which the agents of several users on one host share its GPUs.
//
// There is a file for each GPU or MIG instance, named by its UUID. Who uses the GPU holds a lock (flock) on it: an
// exclusive one for a whole GPU, one that jobs of the same queue share for a part of its memory. It belongs to the
// open file, so that the program of a job inherits it with the descriptor: it is gone when the last process has closed
// it, whoever was killed before, and nobody has to tidy up. What stands in the file (a line of JSON) only says in words
// who has it.
//
// All users may write to the folder and its files (mode 1777 and 0666), so nothing of what is in them is believed:
// files are opened without following links, and without O_CREAT where they are there (fs.protected_regular refuses
// that for another user's file); what is no plain file with one name is refused; contents are read up to a limit.
//
// While jobs of a user wait for GPUs there is also a ticket: a file of that user's, whose name has their UID, with what
// they wait for and what they used. Who used less comes first; each agent decides that by itself from the tickets
// (queue/plan). A ticket counts for some seconds after it was written, by the clock that nobody sets, and so a dead
// agent's blocks nobody.
//
// The folder is advice: a program that asks nobody can use any GPU. The agent's ledger sees it there.
package lease
