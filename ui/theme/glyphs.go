package theme

import "berth/backend/api"

// Glyphs are the characters that the dashboard draws with. All are one cell wide in every terminal
// that was measured; none is an emoji.
type Glyphs struct {
	Running, Going, Leaving, Stopped, Bad_, Odd_ string
	Cursor, Marked, Up, Down, Ellipsis           string
	H, V, TL, TR, BL, BR, LT, RT                 string // lines and corners
	Dot, Arrow, Check, Cross, Pending, Bullet    string
	On, Off_, Left, Right, Under, Dash           string
	Critical, Warning, Notice                    string // what wants attention
}

var unicodeGlyphs = Glyphs{
	Running: "●", Going: "◐", Leaving: "◑", Stopped: "○", Bad_: "✗", Odd_: "?",
	Cursor: "▌", Marked: "✓", Up: "↑", Down: "↓", Ellipsis: "…",
	H: "─", V: "│", TL: "╭", TR: "╮", BL: "╰", BR: "╯", LT: "├", RT: "┤",
	Dot: "·", Arrow: "→", Check: "✓", Cross: "✗", Pending: "○", Bullet: "•",
	On: "●", Off_: "○", Left: "‹", Right: "›", Under: "_", Dash: "–",
	Critical: "▲", Warning: "△", Notice: "·",
}

var asciiGlyphs = Glyphs{
	Running: "*", Going: "~", Leaving: "~", Stopped: "o", Bad_: "x", Odd_: "?",
	Cursor: ">", Marked: "+", Up: "^", Down: "v", Ellipsis: "..",
	H: "-", V: "|", TL: "+", TR: "+", BL: "+", BR: "+", LT: "+", RT: "+",
	Dot: "-", Arrow: "->", Check: "+", Cross: "x", Pending: "o", Bullet: "*",
	On: "(*)", Off_: "( )", Left: "<", Right: ">", Under: "_", Dash: "-",
	Critical: "!", Warning: "w", Notice: ".",
}

// StateGlyph returns the sign of an instance's state.
func (g *Glyphs) StateGlyph(s api.State) string {
	switch s {
	case api.StateRunning:
		return g.Running
	case api.StateStopped:
		return g.Stopped
	case api.StateStopping, api.StateDeleting:
		return g.Leaving
	case api.StateCreateFailed, api.StateSetupFailed, api.StateUnusable:
		return g.Bad_
	}
	if s.Changing() {
		return g.Going
	}
	return g.Odd_
}

// OpGlyph returns the sign of an operation's or a step's state.
func (g *Glyphs) OpGlyph(s api.OpState) string {
	switch s {
	case api.OpSucceeded:
		return g.Check
	case api.OpFailed, api.OpCancelled:
		return g.Cross
	case api.OpRunning:
		return g.Going
	case api.OpSkipped:
		return g.Dash
	}
	return g.Pending
}
