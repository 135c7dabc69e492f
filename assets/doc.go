// Package assets holds what is embedded in Berth: so far the help pages, which `berth help TOPIC` and
// the dashboard's help screen show.
package assets
