// Package software has the names of the software that Berth looks for on instances, and holds what an inventory found
// against what set-up profiles promise. It reads nothing from a host: that is agent/inventory.
//
// names.go has the names, compare.go the promises, rows.go inventories side by side.
package software
