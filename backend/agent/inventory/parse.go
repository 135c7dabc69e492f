package inventory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
)

// osRelease returns PRETTY_NAME, and ID-VERSION_ID, of an os-release file.
func osRelease(b []byte) (pretty, release string) {
	vars := map[string]string{}
	for line := range strings.SplitSeq(string(b), "\n") {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			vars[k] = strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	if release = vars["ID"]; release != "" && vars["VERSION_ID"] != "" {
		release += "-" + vars["VERSION_ID"]
	}
	return vars["PRETTY_NAME"], release
}

var (
	driverVersion = pattern(`(?m)^NVRM version:.*?Kernel Module\s+(?:for \S+\s+)?(\d{1,5}(?:\.\d{1,5}){1,3})\b`)
	nvccVersion   = pattern(`\bV(\d{1,5}(?:\.\d{1,5}){1,3})\b`)
	cudaText      = pattern(`CUDA Version (\d{1,5}(?:\.\d{1,5}){1,3})`)
	anyVersion    = pattern(`\d{1,9}(?:\.\d{1,9}){1,4}(?:[-+.~]?(?:rc|beta|alpha|dev|post|[0-9])[0-9A-Za-z.]{0,20})?`)
	plainNumber   = pattern(`^v?\d{1,9}$`)
	define        = pattern(`(?m)^\s*#\s*define\s+(\w{1,60})\s+(\d{1,9})\b`)
)

// pattern compiles an expression when it is first used: programs that link this in should not pay for it.
func pattern(s string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) })
}

func driverOf(b []byte) string { return first(driverVersion, b) }

func first(re func() *regexp.Regexp, b []byte) string {
	if m := re().FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}

// versionIn finds the version that a program printed: the first that looks like one.
func versionIn(b []byte) string {
	b = b[:min(len(b), 4096)]
	if m := anyVersion().Find(b); m != nil {
		return string(m)
	}
	if line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n"); plainNumber().MatchString(line) {
		return strings.TrimPrefix(line, "v")
	}
	return ""
}

// defined joins numbers that a C header defines: major.minor.patch.
func defined(b []byte, names ...string) string {
	values := map[string]string{}
	for _, m := range define().FindAllSubmatch(b, -1) {
		values[string(m[1])] = string(m[2])
	}
	var out []string
	for _, n := range names {
		if values[n] == "" {
			return ""
		}
		out = append(out, values[n])
	}
	return strings.Join(out, ".")
}

// cudaJSON reads version.json of a toolkit.
func cudaJSON(b []byte) string {
	var v struct {
		CUDA struct{ Version string } `json:"cuda"`
	}
	if json.Unmarshal(b, &v) != nil {
		return ""
	}
	return versionIn([]byte(v.CUDA.Version))
}

// dpkgStatus reads dpkg's status file: the installed packages with their upstream versions.
func dpkgStatus(b []byte) map[string]string {
	out := map[string]string{}
	var name, version string
	installed := false
	flush := func() {
		if name != "" && installed {
			out[name] = upstream(version)
		}
		name, version, installed = "", "", false
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Text()
		switch {
		case line == "":
			flush()
		case strings.HasPrefix(line, "Package: "):
			name = strings.TrimSpace(line[9:])
		case strings.HasPrefix(line, "Version: "):
			version = strings.TrimSpace(line[9:])
		case strings.HasPrefix(line, "Status: "):
			installed = strings.HasSuffix(line, " installed")
		}
	}
	flush()
	return out
}

// upstream is a Debian version without epoch and revision.
func upstream(v string) string {
	if i := strings.IndexByte(v, ':'); i >= 0 {
		v = v[i+1:]
	}
	if i := strings.LastIndexByte(v, '-'); i > 0 {
		v = v[:i]
	}
	return strings.NewReplacer("+dfsg", "", "+ds", "").Replace(v)
}

// condaPackage splits the name of a file of conda-meta: NAME-VERSION-BUILD.json.
func condaPackage(file string) (name, version string, ok bool) {
	s, ok := strings.CutSuffix(file, ".json")
	if !ok {
		return "", "", false
	}
	i := strings.LastIndexByte(s, '-')
	if i <= 0 {
		return "", "", false
	}
	j := strings.LastIndexByte(s[:i], '-')
	if j <= 0 || j+1 >= i {
		return "", "", false
	}
	name = strings.ToLower(s[:j])
	if py := condaNames[name]; py != "" {
		name = py
	}
	return name, s[j+1 : i], true
}

// distInfo splits the name of a folder of site-packages: NAME-VERSION.dist-info, or Debian's
// NAME-VERSION-pyX.egg-info.
func distInfo(dir string) (name, version string, ok bool) {
	s, ok := strings.CutSuffix(dir, ".dist-info")
	if !ok {
		if s, ok = strings.CutSuffix(dir, ".egg-info"); !ok {
			return "", "", false
		}
	}
	name, version, ok = strings.Cut(s, "-")
	version, _, _ = strings.Cut(version, "-") // -py3
	if !ok || name == "" || version == "" {
		return "", "", false
	}
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name)), version, true
}

// kernelJSON reads a kernel.json.
func kernelJSON(b []byte) (title, language string, ok bool) {
	var v struct {
		Argv     []string `json:"argv"`
		Title    string   `json:"display_name"`
		Language string   `json:"language"`
	}
	if json.Unmarshal(b, &v) != nil || len(v.Argv) == 0 {
		return "", "", false
	}
	return v.Title, v.Language, true
}
