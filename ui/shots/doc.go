// Command shots makes pictures of the dashboard's screens, and opens it on a fleet in memory to try
// it by hand:
//
//	go run ./ui/shots -o shots
//	go run ./ui/shots -live -n 10000
package main
