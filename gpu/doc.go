// Package gpu knows the GPUs of this host. Today it finds out which there are (detect.go); live
// figures come below it later. It knows neither instances nor screens: it imports nothing of backend
// or ui.
package gpu
