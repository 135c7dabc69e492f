// Package libvirt makes instances that are virtual machines of a libvirtd: on this host (qemu:///system,
// qemu:///session) or on another one over SSH (qemu+ssh://).
//
// A machine is one domain. Its UUID comes from the token of its create, so that a repeated create finds
// the first and two processes can't make two; what Berth keeps of it stands in the domain's metadata.
// Domains without that metadata are never listed and never changed. In the storage pool each machine has
// a disk (a qcow2 overlay on a cached image), a seed for cloud-init and a console log; their names carry
// home and token, so that what a crash left behind is found. The seed brings the agent along, so that
// nothing has to be copied over SSH before there is a shell.
//
// Nothing is waited for: a call returns when libvirtd has accepted. A shutdown request that a booting
// guest did not hear is repeated by the Get or List that still sees it running.
//
// A host without libvirt makes no noise: where no uri is set, libvirtd can't be reached and this home
// never had a machine there, List is empty; every other call says what is missing.
package libvirt
