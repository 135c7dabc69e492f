// Package fleet is the first screen: a table of all instances. It draws only the rows in view and
// keeps its order by merging what changed, so that ten thousand instances feel like ten. The cursor
// stays on its instance, at its place on the screen, through every refresh, sort and deletion. Where
// the rows leave room on a wide screen, the instance under the cursor is shown below them.
package fleet
