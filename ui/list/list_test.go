package list

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/muesli/termenv"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/ui/draw"
	"berth/ui/key"
	"berth/ui/theme"
)

var plain = theme.New(theme.Options{Profile: termenv.Ascii})

// of makes a list of words, with what a screen has around it.
func of(words *[]string) *List {
	l := &List{}
	all := slices.Clone(*words)
	now := time.Unix(0, 0)
	l.Begin(Of{Len: func() int { return len(*words) }, ID: func(i int) string { return (*words)[i] }, Marking: true,
		By: func() []string { return []string{"as is", "name"} }, Now: func() time.Time { return now },
		Open: func() tea.Cmd { return func() tea.Msg { return "opened" } },
		Lay: func() {
			match := Match(l.Words())
			*words = nil
			for _, w := range all {
				if match == nil || match(w, w) {
					*words = append(*words, w)
				}
			}
			if l.Sort == "name" {
				slices.Sort(*words)
			}
			if l.Down {
				slices.Reverse(*words)
			}
		}}, "")
	return l
}

func press(l *List, names ...string) {
	for _, n := range names {
		if b := key.Find(l.Keys(), n); b != nil {
			b.Do()
		}
	}
}

func drawn(l *List, words *[]string, w, h int) []string {
	var p draw.Page
	p.Reset(plain, w, h)
	l.Draw(&p, plain, h, func(ln *draw.Line, i int) { ln.To(2).Text(plain.Text, (*words)[i]) })
	return p.Lines()
}

func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("row-%03d", i))
	}
	return out
}

func TestWhatIsHiddenIsMarked(t *testing.T) {
	words := numbered(10)
	l := of(&words)
	require.Equal(t, []string{"> row-000", "  row-001", "  row-002" + strings.Repeat(" ", 10) + "↓"},
		[]string{strings.ReplaceAll(strings.TrimRight(drawn(l, &words, 20, 3)[0], " "), "▌", ">"), drawn(l, &words, 20, 3)[1],
			drawn(l, &words, 20, 3)[2]})
	press(l, "G")
	lines := drawn(l, &words, 20, 3)
	require.True(t, strings.HasSuffix(lines[0], "↑"), lines[0])
	require.Contains(t, lines[2], "row-009")
	require.NotContains(t, lines[2], "↓")
	press(l, "k", "k", "k", "k")
	lines = drawn(l, &words, 20, 3)
	require.True(t, strings.HasSuffix(lines[0], "↑") && strings.HasSuffix(lines[2], "↓"), lines)
	require.NotContains(t, strings.Join(drawn(l, &words, 20, 10), ""), "↓", "all of it is in sight")
}

func TestAListIsNarrowedSortedAndMarked(t *testing.T) {
	words := []string{"pear", "apple", "fig", "plum"}
	l := of(&words)
	press(l, "j") // apple
	press(l, "S")
	require.Equal(t, []string{"apple", "fig", "pear", "plum"}, words)
	require.Equal(t, "apple", words[l.At], "the cursor stays on its row")
	press(l, "I")
	require.Equal(t, "plum", words[0])
	require.Equal(t, "apple", words[l.At])
	press(l, "<")
	require.Equal(t, "pear", words[0])
	press(l, "g", " ", "j", " ")
	require.Equal(t, []int{0, 2}, l.Marked())
	press(l, "/")
	require.True(t, l.Typing())
	for _, r := range "p !l" {
		l.Type(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}})
	}
	l.Type(tea.KeyMsg{Type: tea.KeyEnter})
	require.False(t, l.Typing())
	require.Equal(t, []string{"pear"}, words)
	require.Equal(t, []int{0}, l.Marked(), "what is done is done to what is shown")
	press(l, "esc")
	require.Empty(t, l.Marks)
	press(l, "esc")
	require.Len(t, words, 4)
	press(l, "*")
	require.Len(t, l.Marks, 4)
	press(l, "*")
	require.Empty(t, l.Marks)
}

func TestTheMouse(t *testing.T) {
	words := numbered(20)
	l := of(&words)
	drawn(l, &words, 20, 5)
	click := tea.MouseMsg{X: 5, Y: 2, Action: tea.MouseActionPress, Button: tea.MouseButtonLeft}
	require.Nil(t, l.Mouse(click))
	require.Equal(t, 2, l.At)
	require.Equal(t, "opened", l.Mouse(click)().(string))
	l.Mouse(tea.MouseMsg{Button: tea.MouseButtonWheelDown})
	require.Equal(t, 5, l.At)
	drawn(l, &words, 20, 5)
	click.X = 0
	l.Mouse(click)
	require.Equal(t, map[string]bool{"row-003": true}, l.Marks)
	click.Y = 9
	l.Mouse(click)
	require.Equal(t, 3, l.At, "there is nothing")
}

func TestMatch(t *testing.T) {
	require.Nil(t, Match(" "))
	require.Nil(t, Match("! ~"))
	for q, want := range map[string]bool{"gpu": true, "~tr7": true, "~tr8": false, "~tr7 !gpu": false, "gpu ~t7": true,
		"!vm gpu": true} {
		require.Equal(t, want, Match(q)("train-7", "train-7 GPU running"), q)
	}
}

// TestTheCursorWalksAsThePageIsDrawn checks for columns of any shape: from the first row to the last, each step down
// goes to the row that is drawn next, whole where it fits, and both ends of the page come into sight.
func TestTheCursorWalksAsThePageIsDrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.IntRange(1, 12).Draw(t, "height")
		n := rapid.IntRange(1, 3).Draw(t, "columns")
		var cols []Column
		var skip []bool
		var order []int
		for c := range n {
			col := Column{X: c * 20, W: 20}
			for range rapid.IntRange(0, 12).Draw(t, "rows") {
				i := len(skip)
				skip = append(skip, rapid.IntRange(0, 3).Draw(t, "skip") == 0)
				if !skip[i] {
					order = append(order, i)
				}
				for k := range rapid.IntRange(1, 3).Draw(t, "lines") {
					col.Lines, col.Rows = append(col.Lines, fmt.Sprintf("%d.%d.", i, k)), append(col.Rows, i)
				}
			}
			cols = append(cols, col)
		}
		if len(order) == 0 {
			return
		}
		l := &List{}
		l.Begin(Of{Len: func() int { return len(skip) }, Skip: func(i int) bool { return skip[i] }}, "")
		draw1 := func() string {
			var p draw.Page
			p.Reset(plain, 60, h)
			l.DrawColumns(&p, plain, h, cols)
			return strings.Join(p.Lines(), "\n")
		}
		for step, i := range order {
			s := draw1()
			if l.At != i {
				t.Fatalf("step %d is on %d, not %d", step, l.At, i)
			}
			if !strings.Contains(s, fmt.Sprintf("%d.0.", i)) {
				t.Fatalf("%d is not in sight:\n%s", i, s)
			}
			press(l, "j")
		}
		last := cols[0]
		for _, c := range cols {
			if slices.Contains(c.Rows, order[len(order)-1]) {
				last = c
			}
		}
		press(l, "G")
		if s := draw1(); tall(last, order[len(order)-1]) <= h && !strings.Contains(s, last.Lines[len(last.Lines)-1]) {
			t.Fatalf("the end of the page is not in sight:\n%s", s)
		}
		press(l, "g")
		first := cols[0]
		for _, c := range slices.Backward(cols) {
			if slices.Contains(c.Rows, order[0]) {
				first = c
			}
		}
		if s := draw1(); slices.Index(first.Rows, order[0]) < h && !strings.Contains(s, first.Lines[0]) {
			t.Fatalf("the beginning of the page is not in sight:\n%s", s)
		}
	})
}

// tall is how many lines stand from a row to the end of its column.
func tall(c Column, row int) int { return len(c.Rows) - slices.Index(c.Rows, row) }

func TestAText(t *testing.T) {
	var g Pager
	lines := numbered(30)
	show := func() []string {
		var p draw.Page
		p.Reset(plain, 20, 5)
		g.Draw(&p, plain, lines)
		return p.Lines()
	}
	require.True(t, strings.HasSuffix(show()[4], "↓"))
	g.End()
	require.Contains(t, show()[4], "row-029")
	require.True(t, strings.HasSuffix(show()[0], "↑"))
	g.Mouse(tea.MouseMsg{Button: tea.MouseButtonWheelUp})
	require.Contains(t, show()[4], "row-026")
}

// TestAHeadingIsSeenWithItsFirstRow, also where the cursor comes back to that from below.
func TestAHeadingIsSeenWithItsFirstRow(t *testing.T) {
	words := []string{"HEADING", "a", "b", "c", "OTHER", "d", "e", "f"}
	l := &List{}
	l.Begin(Of{Len: func() int { return len(words) }, ID: func(i int) string { return words[i] },
		Skip: func(i int) bool { return words[i] == strings.ToUpper(words[i]) },
		Now:  func() time.Time { return time.Unix(0, 0) }, Lay: func() {}}, "")
	drawn(l, &words, 30, 4)
	require.Equal(t, 1, l.At)
	for range 5 {
		press(l, "j")
		drawn(l, &words, 30, 4)
	}
	require.Equal(t, 7, l.At)
	require.Equal(t, 4, l.Top())
	for range 2 {
		press(l, "k")
		drawn(l, &words, 30, 4)
	}
	require.Equal(t, 5, l.At)
	require.Equal(t, 4, l.Top(), "its heading is in sight")
	press(l, "g")
	drawn(l, &words, 30, 4)
	require.Equal(t, 1, l.At)
	require.Zero(t, l.Top())
}
