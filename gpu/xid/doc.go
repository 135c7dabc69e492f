// Package xid knows what the numbers mean with which the NVIDIA driver reports errors ("Xid 79"): what
// happened, what to do, and whether a program or the GPU is to blame. The table is assets/xid.toml.
package xid
