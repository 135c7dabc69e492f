// Package whole carries the whole program, compressed, in builds of the short one (the tag front).
package whole
