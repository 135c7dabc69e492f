// Package top is the screen of one instance's figures: its GPUs, host, disks and processes as they are
// now, and their history. One cursor goes over everything; enter shows all that is known of the thing
// under it, h its history. What a GPU or a kernel does not offer is "not supported", never 0. Figures
// that are not those of now are grey, and their age and its reason are said in words.
package top
