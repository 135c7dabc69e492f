// Package dialog has the boxes that are laid over a screen: a confirmation that names what is lost
// (and has a name typed where nothing comes back), a question from the service, a menu, a notice.
// The default answer of anything that destroys is no.
package dialog
