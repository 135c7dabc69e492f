// Package hostdev reads from libvirt's node devices which GPUs a host has, which of them can be given to a
// machine, and what stands in the way. It calls nothing: it is given XML and returns XML.
package hostdev
