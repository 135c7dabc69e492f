package backend

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSelectors(t *testing.T) {
	env := map[string]string{
		"AWS_PROFILE": "b", "AWS_SECRET_ACCESS_KEY": "s3", "AWS_SESSION_TOKEN": "", "SSH_AUTH_SOCK": "/run/agent",
		"HTTPS_PROXY": "http://me:s3@proxy:3128/x?y", "https_proxy": "me:s3@proxy:3128", "NO_PROXY": "localhost,.corp",
		"HTTP_PROXY": "http://proxy:3128", "ALL_PROXY": "://:s3", "FTP_PROXY": "http://s3 s3@p",
		"GOOGLE_APPLICATION_CREDENTIALS": "/k.json", "AZURE_CLIENT_SECRET": "s3", "BERTH_TOKEN": "s3", "PATH": "/bin",
		"SSH_CONNECTION": "1 2 3 4", "SECRET_PROXY": "s3"}
	require.Equal(t, map[string]string{"AWS_PROFILE": "b", "SSH_AUTH_SOCK": "/run/agent",
		"HTTPS_PROXY": "http://proxy:3128", "https_proxy": "http://proxy:3128", "NO_PROXY": "localhost,.corp",
		"HTTP_PROXY": "http://proxy:3128", "GOOGLE_APPLICATION_CREDENTIALS": "/k.json", "PATH": "/bin"}, Selectors(env))
	require.Equal(t, []string{"ALL_PROXY", "AWS_SECRET_ACCESS_KEY", "AZURE_CLIENT_SECRET", "FTP_PROXY", "HTTPS_PROXY",
		"https_proxy"}, Withheld(env))
	require.Empty(t, Selectors(map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": `{"private_key":"s3"}`}))
	require.True(t, SameAccount(map[string]string{"AWS_PROFILE": "a", "PATH": "/a", "AWS_SECRET_ACCESS_KEY": "1"},
		map[string]string{"AWS_PROFILE": "a", "SSH_AUTH_SOCK": "/b"}))
	require.False(t, SameAccount(map[string]string{"AWS_PROFILE": "a"}, map[string]string{"AWS_PROFILE": "b"}))
}

// TestNoSecretIsASelector puts a marked secret wherever one may stand: nothing of it is kept, and no name is that is
// not one of the list.
func TestNoSecretIsASelector(t *testing.T) {
	const secret = "s3cr3t"
	names := append(append(slices.Clone(selectors), proxies...), "NO_PROXY", "http_proxy", "https_proxy", "all_proxy")
	rapid.Check(t, func(t *rapid.T) {
		env := map[string]string{}
		for range rapid.IntRange(0, 12).Draw(t, "variables") {
			name := rapid.OneOf(rapid.SampledFrom(names), rapid.StringMatching(`(AWS|AZURE|GOOGLE|CLOUDSDK|BERTH)_[A-Z_]{1,12}`),
				rapid.StringMatching(`[A-Za-z]{1,8}_PROXY`)).Draw(t, "name")
			value := secret
			switch upper := strings.ToUpper(name); {
			case slices.Contains(proxies, upper):
				value = rapid.SampledFrom([]string{"", "http://", "https://", "socks5://", "socks5h://", "//", "x:"}).Draw(t, "scheme") +
					rapid.SampledFrom([]string{secret, "me:" + secret, secret + ":x", "a@" + secret, "%41:" + secret, ":" + secret + "@"}).
						Draw(t, "user") + "@" + rapid.OneOf(rapid.SampledFrom([]string{"proxy", "10.0.0.1", "[::1]", "", "h%40"}),
					rapid.StringN(0, 6, -1)).Draw(t, "host") +
					rapid.SampledFrom([]string{"", ":3128", ":x", "/p", "?q", "#f"}).Draw(t, "rest")
			case slices.Contains(selectors, name) || upper == "NO_PROXY":
				value = rapid.SampledFrom([]string{"b", "/run/a b", "a,b", ""}).Draw(t, "value")
			}
			env[name] = value
		}
		kept := Selectors(env)
		for k, v := range kept {
			if !slices.Contains(names, k) && !slices.Contains(proxies, strings.ToUpper(k)) && !strings.EqualFold(k, "NO_PROXY") {
				t.Fatalf("%s is kept", k)
			}
			if strings.Contains(v, secret) || strings.Contains(v, "@") {
				t.Fatalf("%s=%s is kept of %s", k, v, env[k])
			}
		}
		for _, k := range Withheld(env) {
			if env[k] == "" || kept[k] == env[k] {
				t.Fatalf("%s=%q is no secret", k, env[k])
			}
		}
	})
}

// TestProxyWithAnOddPassword: a password that is not escaped ends the host before it begins; nothing of it is kept.
func TestProxyWithAnOddPassword(t *testing.T) {
	for _, value := range []string{"http://ada:1234/x@proxy:3128", "http://ada:12#x@proxy", "ada:12?x@proxy:3128",
		"http://ada?:x@proxy", "http://ada:p@1234#x@proxy:3128", "socks5://ada/x:y@proxy"} {
		env := map[string]string{"HTTPS_PROXY": value}
		require.Empty(t, Selectors(env), value)
		require.Equal(t, []string{"HTTPS_PROXY"}, Withheld(env), "it is said what an operation would need")
	}
}

// FuzzProxy: no user info of any value survives.
func FuzzProxy(f *testing.F) {
	for _, s := range []string{"http://u:p@h:1", "u:p@h", "http://u@p@h", "http:u:p@h", "//u:p@h", "http://h/@", "[::1]:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		kept := Selectors(map[string]string{"HTTPS_PROXY": s})["HTTPS_PROXY"]
		require.NotContains(t, kept, "@")
		if i := strings.LastIndex(s, "@"); i > 0 && kept != "" {
			require.True(t, hostOnly().MatchString(kept[strings.Index(kept, "://")+3:]), kept)
		}
		_, err := json.Marshal(kept)
		require.NoError(t, err)
	})
}

func TestNormalIdentity(t *testing.T) {
	for who, want := range map[string]string{
		"arn:aws:sts::123456789012:assumed-role/Admin/anna@corp": "arn:aws:sts::123456789012:assumed-role/Admin",
		"arn:aws-cn:sts::1:assumed-role/a/b":                     "arn:aws-cn:sts::1:assumed-role/a",
		"arn:aws:sts::1:assumed-role/Admin":                      "arn:aws:sts::1:assumed-role/Admin",
		"arn:aws:iam::123456789012:user/path/anna":               "arn:aws:iam::123456789012:user/path/anna",
		" anna@corp.example\n":                                   "anna@corp.example",
		"":                                                       "",
	} {
		require.Equal(t, want, NormalIdentity(who))
		require.Equal(t, want, NormalIdentity(want), "it stays")
	}
}
