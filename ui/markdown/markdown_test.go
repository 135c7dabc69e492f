package markdown

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/assets"
	"berth/backend/base/plaintext"
	"berth/ui/text"
)

// shown writes lines as a test can read them: code in <>, bold in {}.
func shown(lines []Line) string {
	var b strings.Builder
	for i := range lines {
		l := &lines[i]
		b.WriteString([]string{"", "# ", "| ", ""}[l.Kind])
		if l.Indent > 0 && l.Kind == Text {
			b.WriteString(l.Mark + strings.Repeat(" ", l.Indent-len(l.Mark)))
		}
		for _, s := range l.Spans {
			b.WriteString([]string{s.Text, "<" + s.Text + ">", "{" + s.Text + "}"}[s.Style])
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestLayout(t *testing.T) {
	page := "# Of `berth`\n\nWords that go on, with `code that is broken` over lines\nand **bold ones**.\n\n" +
		"- an item that is long enough to hang\n  on `x`\n- next\n12. numbered item of words\n\n    code  as it\n      was\n\n    on\n2 * 3 ` and `"
	require.Equal(t, `# Of <berth>

Words that go on,
with <code that is>
<broken> over lines
and {bold ones}.

- an item that is
  long enough to
  hang on <x>
- next
12. numbered item of
    words

| <code  as it>
| <  was>

| <on>
2 * 3 <and>
`, shown(Layout(page, 20)))
	require.Equal(t, "call <`it`> and\n{more}\n", shown(Marked("call `it` and **more**", 14)))
	require.Equal(t, "a ` b * c ** d\n", shown(Layout("a ` b * c ** d", 20)))
}

// Every page fits, loses nothing, and has no mark left over.
func TestPagesOfTheHelp(t *testing.T) {
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for _, topic := range assets.HelpTopics() {
		page, _ := assets.HelpPage(topic)
		for _, w := range []int{20, 38, 78, 92} {
			var got strings.Builder
			lines := Layout(page, w)
			for i := range lines {
				l := &lines[i]
				if l.Kind == Text {
					require.LessOrEqual(t, l.Indent+text.Width(l.String()), w, "%s: %s", topic, l.String())
					require.NotContains(t, l.String(), "**", topic)
				}
				got.WriteString(l.Mark + " " + l.String() + "\n")
			}
			if w >= 78 {
				require.Equal(t, words(strings.NewReplacer("`", "", "**", "", "## ", "", "# ", "").Replace(page)),
					words(strings.NewReplacer("# ", "").Replace(got.String())), topic)
			}
		}
	}
}

func FuzzLayout(f *testing.F) {
	f.Add("# a\n\n- b `c d` e\n  **f** g\n\n    h\n", 10)
	f.Add("a  `b  c`  d", 3)
	f.Fuzz(func(t *testing.T, page string, w int) {
		w = 1 + max(w, 0)%100
		lines := Layout(page, w)
		for i := range lines {
			l := &lines[i]
			if l.Kind == Text && l.Indent == 0 && plaintext.Plain(strings.ReplaceAll(page, "\n", "")) && len(l.String()) > w {
				t.Fatalf("%q at %d", l.String(), w)
			}
		}
	})
}
