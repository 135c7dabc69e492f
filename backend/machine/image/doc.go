// Package image knows the images that machines are made from: the catalogue (assets/images.toml and the
// user's own), a cache that fetches them once for each host and checks them, and what a qcow2 file says
// of itself.
package image
