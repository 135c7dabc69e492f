// Package progress reads from the end of what a program printed how far it is. It is pure: bytes in, a percentage out.
//
//	progress.go  Read: the newest signs, put into one another
//	lines.go     what was printed, as lines without escape codes
//	bar.go       bars: tqdm, Keras, Rich
//	count.go     counts and percentages in words: "Epoch 3/10", "step 120 of 1000", "[ 37%]"
//	cursor.go    reading numbers and times
//
// It does not guess. A bar is taken as it stands; a count or a percentage in words only behind or before a word that
// means progress, or at the beginning of lines of which two have shown it grow. What is left over (dates, paths,
// fractions, accuracies, ranks of processes, attempts) says nothing.
package progress
