package attach

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// reads gives reads of the terminal, a second apart, to a filter.
func reads(t *testing.T, in ...string) (string, escAction) {
	t.Helper()
	e, err := parseEscape("")
	require.NoError(t, err)
	now := time.Unix(1, 0)
	var out strings.Builder
	for _, b := range in {
		p, act := e.filter([]byte(b), now)
		out.Write(p)
		if act != escNone {
			return out.String(), act
		}
		now = now.Add(time.Second)
	}
	return out.String(), escNone
}

func TestEscapesUnderEveryKeyboardProtocol(t *testing.T) {
	for name, in := range map[string][]string{
		"plain":                      {"\r", "~", "."},
		"in one piece":               {"x", "\r~."},
		"after two line ends":        {"x", "\r\r~."},
		"prefix":                     {"x", "\x1d", "d"},
		"prefix in one piece":        {"x\x1b[A", "\x1dd"},
		"kitty":                      {"x", "\x1b[93;5u", "d"},
		"kitty, NumLock":             {"x", "\x1b[93;133u", "d"},
		"kitty, NumLock, event type": {"x", "\x1b[93;133:1u", "\x1b[93;133:3u", "d"},
		"kitty, a repeated key":      {"x", "\x1b[93;5:2u", "d"},
		"kitty, all keys reported":   {"\x1b[57442;5:1u", "\x1b[93;5:1u", "\x1b[93;5:3u", "\x1b[57442;1:3u", "\x1b[100;1:1u"},
		"kitty, with text":           {"\x1b[93;5u", "\x1b[100;;100u"},
		"kitty, another layout":      {"\x1b[1098::93;5u", "\x1b[1074::100u"},
		"kitty, caps lock":           {"\x1b[93;69u", "\x1b[100;65;100u"},
		"kitty, press and release":   {"\x1b[93;5u\x1b[93;5:3u", "\x1b[100u\x1b[100;1:3u"},
		"kitty, tilde": {"\x1b[13u", "\x1b[13;1:3u", "\x1b[57441;2u", "\x1b[96:126;2u", "\x1b[96:126;2:3u",
			"\x1b[57441;1:3u", "\x1b[46u"},
		"kitty, tilde without the other key": {"\x1b[13u", "\x1b[96;2u", "\x1b[46u"},
		"kitty, tilde as text":               {"\x1b[13u", "\x1b[43;5:3u", "\x1b[43;;126u", "\x1b[46;129;46u"},
		"modifyOtherKeys":                    {"x", "\x1b[27;5;93~", "d"},
		"modifyOtherKeys, NumLock":           {"x", "\x1b[27;133;93~", "d"},
		"modifyOtherKeys, tilde":             {"x\r", "\r", "\x1b[27;2;126~", "."},
		"win32":                              {"\x1b[219;27;29;1;8;1_", "\x1b[219;27;29;0;8;1_", "\x1b[68;32;100;1;0;1_"},
		"keypad":                             {"\x1bOM", "~", "\x1bOn"},
		"the mouse moves meanwhile":          {"\r", "~", "\x1b[<35;4;4M", "\x1b[O\x1b[I", "."},
		"split":                              {"x", "\x1d", "d"},
		"after a paste whose end is lost":    {"\x1b[200~abc", "\x1d", "\x1b", "\x1d", "d"},
	} {
		if name == "after a paste whose end is lost" {
			e, err := parseEscape("")
			require.NoError(t, err)
			_, act := e.filter([]byte(in[0]), time.Unix(1, 0))
			require.Equal(t, escNone, act)
			_, act = e.filter([]byte("\x1dd"), time.Unix(2, 0))
			require.Equal(t, escNone, act, "the paste may go on")
			_, act = e.filter([]byte("\x1dd"), time.Unix(9, 0))
			require.Equal(t, escLeave, act)
			continue
		}
		_, act := reads(t, in...)
		require.Equal(t, escLeave, act, name)
	}
	// A sequence that comes in two pieces is known, and the other side gets no half of it.
	e, err := parseEscape("")
	require.NoError(t, err)
	out, act := e.filter([]byte("\x1b[93"), time.Unix(1, 0))
	more, _ := e.filter([]byte(";5u"), time.Unix(1, 1))
	last, act2 := e.filter([]byte("d"), time.Unix(2, 0))
	require.Equal(t, "\x1b[93;5u", string(out)+string(more)+string(last))
	require.Equal(t, []escAction{escNone, escLeave}, []escAction{act, act2})
}

func TestWhatIsNoEscapeArrives(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 16)
	for name, in := range map[string][]string{
		"a paste":                         {"\x1b[200~~~~\r~.\r\x1dd\r~?\x1b[201~", "x"},
		"a paste in pieces":               {"\x1b[200~a\r", "~", ".", "\r~.", "\x1b[20", "1~", "x"},
		"a paste without marks":           {"~.\rrm\r", "ls\r~.\r", "~~~", "~~\r", "\x1dd\r", "a\x1dd"},
		"of three tildes":                 {"\r~~~"},
		"a tilde before a paste":          {"\r", "~", "\x1b[200~.\x1b[201~", "~", "~a.\r"},
		"a tilde before one without mark": {"\r", "~", ".ssh/config\r"},
		"in the middle of a line":         {"a", "~", ".", "b", "~."},
		"another key after the prefix":    {"\x1d", "x", "\x1b[93;5u", "\x1b[A"},
		"a release":                       {"\r", "\x1b[126;1:3u", "."},
		"alt":                             {"\r", "\x1b~", ".", "\x1b\x1d", "d"},
		"ctrl and alt":                    {"\x1b[93;7u", "d", "\x1b[27;7;93~", "d"},
		"escape, alone":                   {"\x1b", "\x1b", "[A"},
		"the old mouse":                   {"\x1b[M~.~", "x", "\x1b[M", "\x1d d"},
		"an answer":                       {"\x1b]11;rgb:0000/0000/0000\x1b\\", "\x1b[?62;c", "\x1bP1$r0m\x1b\\"},
		"no UTF-8":                        {"\xff\xfe~", "\xc3", "\xa4~."},
		"console keys":                    {"\x1b[[A", "\x1b[[", "B"},
	} {
		out, act := reads(t, in...)
		require.Equal(t, escNone, act, name)
		require.Equal(t, strings.Join(in, ""), out, name)
	}
	// What fills a read may go on in the next, which comes right after.
	e, err := parseEscape("")
	require.NoError(t, err)
	out, _ := e.filter([]byte(big+"\r"), time.Unix(1, 0))
	more, act := e.filter([]byte("~."), time.Unix(1, 1e6))
	require.Equal(t, escNone, act)
	require.Equal(t, big+"\r~.", string(out)+string(more))

	out2, act := reads(t, "\r", "~", "~", ".", "\x1d", "\x1d", "d")
	require.Equal(t, escNone, act)
	require.Equal(t, "\r~.\x1dd", out2, "twice is once for the other side")
	out2, act = reads(t, "\x1b[93;5u", "\x1b[93;5:3u", "\x1b[93;5u", "\x1b[93;5:3u", "d")
	require.Equal(t, escNone, act)
	require.Equal(t, "\x1b[93;5u\x1b[93;5:3u\x1b[93;5:3ud", out2)
	_, act = reads(t, "\r", "~", "?")
	require.Equal(t, escHelp, act)
	_, act = reads(t, "\x1d", "?")
	require.Equal(t, escHelp, act)
}

func TestOtherDetachKeys(t *testing.T) {
	e, err := parseEscape("ctrl-^ X")
	require.NoError(t, err)
	for _, b := range []string{"\x1b[54:94;6u", "\x1b[120:88;2u"} {
		_, act := e.filter([]byte(b), time.Now())
		if act == escLeave {
			return
		}
	}
	t.Fatal("ctrl-^ X is not known under the kitty keyboard")
}

// FuzzEscapes types anything in any pieces: whatever is no escape arrives byte for byte, and a paste arrives whole.
func FuzzEscapes(f *testing.F) {
	f.Add([]byte("ls\r~~x\r~.rest"), []byte{4, 1, 1})
	f.Add([]byte("\x1d\x1d\x1dd"), []byte{1, 1, 1, 1})
	f.Add([]byte("\x1b[93;5u\x1b[93;5:3u\x1b[200~~.\x1b[201~\x1b[M~~~\r~\x1b[<1;1M."), []byte{3, 130, 7, 8})
	f.Add([]byte("\x1bO\x1b]0;x\x07\x1b[27;5;93~d\xff"), []byte{2, 200, 1})
	f.Fuzz(func(t *testing.T, b, cuts []byte) {
		feed := func(b []byte) (out []byte, e *escapes, left bool) {
			e, err := parseEscape("")
			if err != nil {
				t.Fatal(err)
			}
			now := time.Unix(1, 0)
			for i := 0; len(b) > 0 && !left; i++ {
				n := len(b)
				if i < len(cuts) {
					n = min(n, int(cuts[i]%64)+1)
					now = now.Add(time.Duration(cuts[i]) * 10 * time.Millisecond)
				}
				p, act := e.filter(b[:n], now)
				out, left, b = append(out, p...), act == escLeave, b[n:]
			}
			return out, e, left
		}
		out, e, left := feed(b)
		out = append(out, e.held...)
		if !left && len(out)+e.eaten != len(b) || e.eaten == 0 && !left && !bytes.Equal(out, b) {
			t.Fatalf("%q became %q, with %d bytes of escapes", b, out, e.eaten)
		}
		if !bytes.ContainsAny(b, "~\x1d\x1b") && (left || !bytes.Equal(out, b)) {
			t.Fatalf("%q became %q", b, out)
		}
		body := bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\x1b"), nil), []byte("01~"), nil)
		paste := []byte("\x1b[200~" + string(body) + "\x1b[201~")
		cuts = append([]byte{5}, bytes.Repeat([]byte{7}, len(paste))...) // the mark is whole, and no pause is long
		if out, e, left = feed(paste); left || e.eaten > 0 || !bytes.Equal(out, paste) {
			t.Fatalf("the paste %q became %q", paste, out)
		}
	})
}

// FuzzPlainKeys never panics, and gives plain text back as it is.
func FuzzPlainKeys(f *testing.F) {
	f.Add([]byte("\x1b[200~secret\x1b[201~\x1b[13u"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := plainKeys(b)
		if !bytes.ContainsAny(b, "\x1b\x00") && !bytes.Equal(got, b) {
			t.Fatalf("%q became %q", b, got)
		}
	})
}

func TestPlainKeys(t *testing.T) {
	for in, want := range map[string]string{
		"\x1b[200~secret\x1b[201~":           "secret",
		"\x1b[13u":                           "\r",
		"ab\x1b[A\x1b[99;5u":                 "ab\x03",
		"\x1b[233;;233u":                     "é",
		"é\x1b":                              "é\x1b",
		"\x1b[I\x1b[<0;1;1M\x1b[97u\x1b[27u": "a\x1b",
		"\x1b\x1b":                           "\x1b\x1b",
		"\x1ba":                              "",
	} {
		require.Equal(t, want, string(plainKeys([]byte(in))), "%q", in)
	}
}

// TestAPasteIsData pastes on a real terminal into a program that shows what it got.
func TestAPasteIsData(t *testing.T) {
	_, c := serve(t, "sh", "-c", "stty raw -echo; printf ready-now; head -c 20 | od -An -c | tr -d ' \\n'; printf '|all'; read x")
	u := newUser(t)
	ch := u.attach(context.Background(), c, "box")
	u.sees("ready-now")
	u.types("\x1b[200~\r~~~\r~.\r\x1b[201~")
	u.sees(`033[200~\r~~~\r~.\r033[201~|all`)
	u.types("\x1b[93;133:1u")
	u.types("d")
	require.True(t, u.ends(ch).res.Detached)
}
