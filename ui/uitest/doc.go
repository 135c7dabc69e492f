// Package uitest has what tests and pictures of the dashboard need: the service's own workspace over providers in
// memory, fleets to fill it with, figures that are fed by hand, and a driver that presses keys.
package uitest
