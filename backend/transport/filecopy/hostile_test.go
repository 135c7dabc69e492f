package filecopy

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/wire"
)

// send plays a sender that says anything.
func send(t *testing.T, r Receiver, frames ...frame) error {
	t.Helper()
	a, b := ends(t)
	done := make(chan error, 1)
	go func() {
		_, err := r.Receive(context.Background(), b)
		done <- err
	}()
	go func() { // what is answered
		for {
			if _, _, err := a.Reader.Next(); err != nil {
				return
			}
		}
	}()
	l := newLine(a, Common{})
	for _, f := range frames {
		if l.say(f) != nil {
			break
		}
	}
	select {
	case err := <-done:
		_ = a.Close()
		return err
	case <-time.After(300 * time.Millisecond):
		_ = a.Close()
		return <-done
	}
}

// file are the frames of a file.
func file(index uint64, name, text string) []frame {
	m := meta{mode: 0o644, size: int64(len(text))}
	return []frame{{kind: kindFile, index: index, name: name, meta: m}, {kind: kindBegin, index: index, meta: m},
		{kind: kindData, data: []byte(text)}, {kind: kindEnd, sum: newSumOf([]byte(text))}}
}

// TestHostileSender tries to write outside of the target: each is refused, and nothing outside has changed.
func TestHostileSender(t *testing.T) {
	folder := func(name string) frame { return frame{kind: kindFolder, name: name, meta: meta{mode: 0o755}} }
	link := func(name, target string) frame { return frame{kind: kindLink, name: name, target: target} }
	up := frame{kind: kindUp}
	all := func(parts ...any) (out []frame) {
		for _, p := range parts {
			switch p := p.(type) {
			case frame:
				out = append(out, p)
			case []frame:
				out = append(out, p...)
			}
		}
		return append(out, frame{kind: kindDone})
	}
	huge := meta{mode: 0o644, size: 10}
	begun := func(m meta) []frame {
		return []frame{{kind: kindFile, index: 1, name: "src", meta: m}, {kind: kindBegin, index: 1, meta: m}}
	}
	for name, frames := range map[string][]frame{
		"another name":        all(file(1, ".bashrc", "evil")),
		"a second one":        all(file(1, "src", "good"), file(2, "more", "evil")),
		"up and out":          all(up, file(1, "src", "evil")),
		"up, out and in":      all(folder("src"), up, up, folder("src")),
		"dots":                all(folder("..")),
		"a path":              all(folder("src"), file(1, "../../outside", "evil")),
		"an absolute path":    all(folder("src"), file(1, "/tmp/evil", "evil")),
		"no name":             all(folder("src"), file(1, "", "evil")),
		"a zero byte":         all(folder("src"), file(1, "a\x00b", "evil")),
		"a link, then a file": all(folder("src"), link("l", "../.."), folder("l"), file(1, "outside", "evil"), up, up),
		"a link for a name":   all(folder("src"), link("outside", "../../outside"), file(1, "outside", "evil"), up),
		"more than was said":  all(begun(huge), frame{kind: kindData, data: bytes.Repeat([]byte("x"), 11)}),
		"a hole without end":  all(begun(huge), frame{kind: kindHole, number: 1 << 39}),
		"less than was said":  all(begun(huge), frame{kind: kindData, data: []byte("x")}, frame{kind: kindEnd, sum: newSumOf([]byte("x"))}),
		"another sum":         all(begun(huge), frame{kind: kindData, data: []byte("0123456789")}, frame{kind: kindEnd}),
		"blocks that were not offered": all(frame{kind: kindFile, index: 1, name: "src", meta: meta{size: 2 << 20}},
			frame{kind: kindBegin, index: 1, meta: meta{size: 2 << 20}, blocks: 1}),
		"unasked":            all(frame{kind: kindBegin, index: 7, meta: huge}),
		"bytes of no file":   all(frame{kind: kindData, data: []byte("x")}),
		"done too soon":      all(folder("src")),
		"what a receiver is": all(frame{kind: kindWant, index: 1}),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/outside", "old")
			require.NoError(t, os.Mkdir(dir+"/dst", 0o755))
			var says []string
			err := send(t, Receiver{Target: dir + "/dst", Name: "src",
				Common: Common{Problem: func(s string) { says = append(says, s) }}}, frames...)
			require.True(t, err != nil || len(says) > 0 || name == "a link for a name", "it was taken")
			require.Equal(t, "old", read(t, dir+"/outside"))
			entries, rerr := os.ReadDir(dir)
			require.NoError(t, rerr)
			require.Len(t, entries, 2, "only the target and what was outside")
			entries, rerr = os.ReadDir(dir + "/dst")
			require.NoError(t, rerr)
			for _, e := range entries {
				require.Equal(t, "src", e.Name())
			}
			if fi, err := os.Lstat(dir + "/dst/src"); err == nil && fi.Mode().IsRegular() {
				require.Equal(t, "good", read(t, dir+"/dst/src"), "no final name has what was not checked")
			}
		})
	}
}

// TestHostileReceiver says to a sender what it can't mean: it ends with an error, and sends nothing else.
func TestHostileReceiver(t *testing.T) {
	ready := frame{kind: kindReady}
	for name, frames := range map[string][]frame{
		"nothing first":      {{kind: kindWant, index: 1}},
		"ready twice":        {ready, ready},
		"wants what is none": {ready, {kind: kindWant, index: 99}},
		"wants it twice":     {ready, {kind: kindWant, index: 1}, {kind: kindWant, index: 1}},
		"finished too soon":  {ready, {kind: kindFinished}},
		"has what is none":   {ready, {kind: kindHave, index: 99}},
		"is a sender":        {ready, {kind: kindDone}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			random(t, dir+"/src", 30<<20)
			a, b := ends(t)
			done := make(chan error, 1)
			go func() {
				_, err := (&Sender{Source: dir + "/src"}).Send(context.Background(), a)
				done <- err
			}()
			l := newLine(b, Common{})
			for _, f := range frames {
				if l.say(f) != nil {
					break
				}
				if f.kind == kindReady {
					_, _ = l.read() // the offer, or why it ended
				}
			}
			select {
			case err := <-done:
				require.Error(t, err)
			case <-time.After(20 * time.Second):
				t.Fatal("the sender goes on")
			}
		})
	}
}

// FuzzFrames reads anything as a frame: what is taken is written as the same frame.
func FuzzFrames(f *testing.F) {
	m := meta{mode: 0o644, size: 5 << 20, sec: -1, nsec: 999_999_999}
	for _, x := range []frame{{kind: kindFolder, name: "a", meta: m}, {kind: kindUp},
		{kind: kindFile, index: 3, name: "\xff", meta: m}, {kind: kindChange, what: Made, name: "a/b"},
		{kind: kindExtra, what: Removed | FolderFlag, name: "a"}, {kind: kindListed}, {kind: kindSent},
		{kind: kindDelete, what: Removed, name: "a/\xff"},
		{kind: kindLink, name: "l", target: "../x", meta: m}, {kind: kindBegin, index: 3, meta: m, blocks: 5},
		{kind: kindData, data: []byte("x")}, {kind: kindHole, number: 1 << 40}, {kind: kindEnd, sum: sum256{1}},
		{kind: kindAbort, text: "why"}, {kind: kindGone, index: 3, text: "why"}, {kind: kindSkipped, text: "why"},
		{kind: kindTotal, number: 7, index: 3}, {kind: kindDone}, {kind: kindReady, place: place{"id", 1, 2}},
		{kind: kindWant, index: 3, blocks: 5, sum: sum256{2}}, {kind: kindHave, index: 3},
		{kind: kindFailed, index: 3, text: "why"}, {kind: kindFinished}} {
		f.Add(byte(x.kind), x.payload(nil))
		got, err := parse(x.kind, x.payload(nil))
		require.NoError(f, err)
		require.Equal(f, x, got)
	}
	f.Fuzz(func(t *testing.T, k byte, p []byte) {
		x, err := parse(wire.Kind(k), p)
		if err != nil {
			return
		}
		if x.name != "" {
			for element := range strings.SplitSeq(x.name, "/") {
				require.NoError(t, checkName(element))
			}
			require.True(t, x.what != 0 || x.kind == kindChange || !strings.Contains(x.name, "/") ||
				x.kind == kindExtra || x.kind == kindDelete)
		}
		require.GreaterOrEqual(t, x.meta.size, int64(0))
		require.GreaterOrEqual(t, x.number, int64(0))
		again, err := parse(x.kind, x.payload(nil))
		require.NoError(t, err)
		require.Equal(t, string(x.data), string(again.data))
		x.data, again.data = nil, nil
		require.Equal(t, x, again)
	})
}
