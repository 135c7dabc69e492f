// Package list is what all lists of the dashboard have in common: a cursor over rows, the part of them in sight with
// marks where there is more, words that narrow them, an order, marks, and the mouse. A screen embeds a List, tells it
// by Of what it is a list of, and draws its rows; the cursor walks in the order in which they are drawn.
package list
