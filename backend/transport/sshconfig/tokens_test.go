package sshconfig

import (
	"compress/gzip"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// newer are what OpenSSH after 9.2 has beside what that version has: keywords, and a token of the usual ones.
var newer = struct {
	keywords []string
	token    byte
}{[]string{"include", "revokedhostkeys", "versionaddendum"}, 'j'}

// TestTokensAreThoseOfTheManual holds the table against ssh_config(5): that of OpenSSH 9.2, and the installed one.
func TestTokensAreThoseOfTheManual(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "tokens.txt"))
	require.NoError(t, err)
	old := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if keyword, rest, ok := strings.Cut(strings.TrimSpace(line), " %"); ok && line[0] != '#' {
			old[keyword] = sorted("%" + rest)
		}
	}
	require.Len(t, old, 14)
	ours := map[string]string{}
	for keyword, accepted := range tokens {
		if !slices.Contains(newer.keywords, keyword) {
			ours[keyword] = sorted("%%" + strings.ReplaceAll(accepted, string(newer.token), ""))
		}
	}
	require.Equal(t, old, ours)

	page := manual(t)
	if page == nil {
		t.Log("the page is not installed")
		return
	}
	require.NotEmpty(t, page)
	for keyword, accepted := range page {
		require.Contains(t, tokens, keyword, "a newer OpenSSH than this table")
		for _, c := range accepted {
			require.Contains(t, "%"+tokens[keyword], string(c), "%s accepts %%%c", keyword, c)
		}
	}
	for keyword, accepted := range tokens {
		if _, known := page[keyword]; !known {
			require.Contains(t, newer.keywords, keyword)
			continue
		}
		for _, c := range strings.ReplaceAll("%"+accepted, string(newer.token), "") {
			require.Contains(t, page[keyword], string(c), "%s does not accept %%%c", keyword, c)
		}
	}
}

// sorted are the tokens of a text, without their percent signs, in order.
func sorted(text string) string {
	if !strings.Contains(text, " ") && strings.HasPrefix(text, "%%") {
		text = regexp.MustCompile(`.`).ReplaceAllString(text[1:], "%$0 ")
	}
	set := map[string]bool{}
	for _, m := range regexp.MustCompile(`%(.)`).FindAllStringSubmatch(text, -1) {
		set[m[1]] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), "")
}

// manual reads what the installed page says: the tokens of each keyword; nil where there is none.
func manual(t *testing.T) map[string]string {
	t.Helper()
	var text string
	for _, p := range []string{"/usr/share/man/man5/ssh_config.5.gz", "/usr/share/man/man5/ssh_config.5"} {
		f, err := os.Open(p)
		if err != nil {
			continue
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(p, ".gz") {
			r, err = gzip.NewReader(f)
			require.NoError(t, err)
		}
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		text = string(b)
		break
	}
	_, text, _ = strings.Cut(text, "\n.Sh TOKENS\n")
	text, _, _ = strings.Cut(text, "\n.Sh ")
	list, text, ok := strings.Cut(text, "\n.El\n")
	if !ok {
		return nil
	}
	all := ""
	for _, m := range regexp.MustCompile(`(?m)^\.It (?:\\[&%])?(%.)$`).FindAllStringSubmatch(list, -1) {
		all += m[1] + " "
	}
	all = sorted(all)
	out := map[string]string{}
	for _, sentence := range strings.Split(text, "\n.Pp\n") {
		_, said, ok := strings.Cut(sentence, "accept")
		if !ok {
			continue
		}
		accepted := sorted(said)
		if strings.Contains(said, "all tokens") {
			accepted = all
		}
		for _, m := range regexp.MustCompile(`(?m)^\.Cm ([A-Za-z]+(?: exec)?)`).FindAllStringSubmatch(sentence, -1) {
			keyword := strings.ToLower(m[1])
			out[keyword] = sorted("%% " + regexp.MustCompile(`.`).ReplaceAllString(out[keyword]+accepted, "%$0 "))
		}
	}
	return out
}

func TestExpand(t *testing.T) {
	h := Host{Alias: "gpu9", Hostname: "10.0.0.9", User: "ada", Port: 2222, ProxyJump: []string{"j"}}
	e := NewExpander(h, map[string]string{"HOME": "/h", "V": "v"})
	local, err := os.Hostname()
	require.NoError(t, err)
	short, _, _ := strings.Cut(local, ".")
	for in, want := range map[string]string{"%%h-%h-%n-%k-%p-%r-%j": "%h-10.0.0.9-gpu9-gpu9-2222-ada-j", "${V}%d": "v" +
		HomeDir(), "%l %L %u": local + " " + short + " " + userName(), "$V": "$V"} {
		got, err := e.Expand("IdentityFile", in)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	aliased := h
	aliased.HostKeyAlias = "other"
	got, err := NewExpander(aliased, nil).Expand("UserKnownHostsFile", "%k")
	require.NoError(t, err)
	require.Equal(t, "other", got)
	for keyword, values := range map[string][]string{"ProxyJump": {"%u@jump", "%d", "x%"}, "ProxyCommand": {"nc %i"},
		"IdentityFile": {"%t", "%H", "${NO_SUCH_VARIABLE_HERE}", "${V"}, "HostName": {"%n"}} {
		for _, v := range values {
			_, err := e.Expand(keyword, v)
			require.Error(t, err, "%s %s", keyword, v)
		}
	}
	got, err = e.Expand("ProxyCommand", "nc ${V:-w} %h %p")
	require.NoError(t, err)
	require.Equal(t, "nc ${V:-w} 10.0.0.9 2222", got, "variables are its shell's")
	got, err = e.Expand("GlobalKnownHostsFile", "/etc/%h")
	require.NoError(t, err)
	require.Equal(t, "/etc/%h", got, "it accepts none")
}

func TestResolveExpandsJumps(t *testing.T) {
	both(t, func(t *testing.T, env map[string]string) {
		file, dir := writeSample(t, `
Host gpu9
  HostName 10.0.0.9
  User ada
  Port 2022
  ProxyJump %r@jump,%n-%h:%p
  IdentityFile FOLDER/%r@%h:%p
  UserKnownHostsFile FOLDER/%k
Host badjump
  ProxyJump %u@jump
Host badcommand
  ProxyCommand nc %u
Host badkey
  IdentityFile FOLDER/%t
  IdentityFile FOLDER/good
`)
		h, err := Resolve(t.Context(), Query{Host: "gpu9", Env: env, File: file})
		require.NoError(t, err)
		require.Equal(t, []string{"ada@jump", "gpu9-10.0.0.9:2022"}, h.ProxyJump)
		require.Equal(t, []string{dir + "/ada@10.0.0.9:2022"}, h.IdentityFiles)
		require.Equal(t, []string{dir + "/gpu9"}, h.UserKnown)
		for _, host := range []string{"badjump", "badcommand"} {
			_, err = Resolve(t.Context(), Query{Host: host, Env: env, File: file})
			require.ErrorContains(t, err, "%u", "it would be reached by another way")
		}
		h, err = Resolve(t.Context(), Query{Host: "badkey", Env: env, File: file})
		require.NoError(t, err)
		require.Equal(t, []string{dir + "/good"}, h.IdentityFiles)
		require.NotEmpty(t, h.Warnings)
		h, err = Resolve(t.Context(), Query{Host: "fe80::1%eth0", Env: env, File: file})
		require.NoError(t, err)
		require.Equal(t, "fe80::1%eth0", h.Hostname)
	})
}

func FuzzExpand(f *testing.F) {
	f.Add("ProxyJump", "%r@%h%%")
	f.Add("IdentityFile", "~/${X}%d")
	f.Fuzz(func(t *testing.T, keyword, s string) {
		e := NewExpander(Host{Alias: "a", Hostname: "h", User: "u", Port: 22}, map[string]string{"X": "x"})
		out, err := e.Expand(keyword, s)
		if err == nil && !strings.ContainsAny(s, "%$") && out != s {
			t.Fatalf("%q became %q", s, out)
		}
	})
}
