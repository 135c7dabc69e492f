// Package filecopy copies a file, or a folder with all below it, over a stream: one side is a Sender (sender.go), the
// other a Receiver (receiver.go), whichever of them is the client.
//
// The sender walks (walk.go) and tells each entry; the receiver makes folders and links at once and says which files it
// wants, and from where on (frames.go). So there is no round trip a file, and a bounded number of files is under way.
//
// A file grows under a temporary name beside its final one (arrive.go), and is renamed when its hash was compared and
// it is on the disk: a final name never has part of a file. What an interrupted copy has left is gone on with where the
// hash of it is that of the source's beginning (sum.go).
//
// An update (update.go) leaves alone what is as the source, and removes what the sender says of what is not in it.
//
// The receiver trusts nothing that comes: names are single elements, folders are opened relative to their parents and
// links are never followed (folder.go), so that nothing outside of the target is touched.
package filecopy
