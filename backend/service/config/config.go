// Package config is Berth's configuration: config.toml, with every key overridden by the environment
// variable BERTH_<SECTION>_<KEY>.
//
// Config is the one declaration: its fields, their toml and help tags and the values of Default give
// the file's keys, the variables, `berth config show` and its documentation.
package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"berth/backend/api"
	"berth/backend/base/tomltext"
)

// Config is the configuration. The zero value is not useful: see Default.
type Config struct {
	Defaults  Defaults  `toml:"defaults"`
	UI        UI        `toml:"ui"`
	Daemon    Daemon    `toml:"daemon"`
	Limits    Limits    `toml:"limits"`
	Attention Attention `toml:"attention"`
	Backend   Backends  `toml:"backend"`

	origin  map[string]string
	service string
}

// Defaults fill what a create request leaves out.
type Defaults struct {
	Backend string `toml:"backend" help:"backend of new instances"`
	Size    string `toml:"size" help:"size of new instances on that backend"`
	Image   string `toml:"image" help:"image of new instances on that backend"`
}

// UI is the dashboard's section.
type UI struct {
	Columns   []string `toml:"columns" help:"columns of the fleet, in order; empty: those that fit"`
	Sort      string   `toml:"sort" help:"column to sort the fleet by; a leading - reverses"`
	Mine      bool     `toml:"mine" help:"start with my instances only"`
	Theme     string   `toml:"theme" help:"auto, dark, light or none"`
	ASCII     bool     `toml:"ascii" help:"draw with ASCII characters only"`
	Mouse     bool     `toml:"mouse" help:"take the mouse"`
	ReadOnly  bool     `toml:"read_only" help:"refuse every change from the dashboard"`
	DetachKey string   `toml:"detach_key" help:"keys that leave a terminal running"`
	JobBell   bool     `toml:"job_bell" help:"ring, and show a notice of the desktop, when a job ends that the dashboard has seen run"`
	Notify    string   `toml:"notify" help:"how something newly critical is told: none, bell, osc9 or osc777 (desktop notifications)"`
}

// Daemon is the daemon's section.
type Daemon struct {
	Idle Duration `toml:"idle" help:"the daemon ends after so long without clients or work; 0: never"`
}

// Attention is what is done about what wants somebody's attention.
type Attention struct {
	Hook string `toml:"hook" help:"command line of sh that is run once for what newly wants attention; see berth help attention"`
}

// Limits is how long the parts of an operation may take before it fails.
type Limits struct {
	Call     Duration `toml:"call" help:"one call of a provider"`
	Prepare  Duration `toml:"prepare" help:"fetching an image"`
	Machine  Duration `toml:"machine" help:"a machine's way to a state"`
	Agent    Duration `toml:"agent" help:"the first answer of an instance's agent"`
	Setup    Duration `toml:"setup" help:"a whole set-up"`
	Question Duration `toml:"question" help:"the answer to a question, such as one for a passphrase"`
	Gentle   Duration `toml:"gentle" help:"a machine that does not react to stop or restart is forced after so long"`
	Silence  Duration `toml:"silence" help:"an SSH line that says nothing, though it is asked, is given up after so long, with what runs through it"`
}

// Backends holds one section for each backend that has settings.
type Backends struct {
	Local   Local   `toml:"local"`
	SSH     SSH     `toml:"ssh"`
	Libvirt Libvirt `toml:"libvirt"`
}

// Local is the section of backend local.
type Local struct {
	Share string `toml:"share" help:"folder shared by all instances of this computer"`
}

// SSH is the section of backend ssh.
type SSH struct {
	Share     string `toml:"share" help:"folder on the instances that all of them share"`
	Transport string `toml:"transport" help:"own (Berth's SSH client) or openssh (the ssh program)"`
}

// Libvirt is the section of backend libvirt.
type Libvirt struct {
	URI      string   `toml:"uri" help:"qemu:///system, qemu:///session or qemu+ssh://USER@HOST/system; empty: this computer's, if libvirt is there"`
	Pool     string   `toml:"pool" help:"storage pool of disks and images; made if there is none"`
	PoolPath string   `toml:"pool_path" help:"folder of the pool, where Berth makes it; empty: libvirt's usual one"`
	Network  string   `toml:"network" help:"auto, user, the name of a libvirt network, or bridge:NAME"`
	Accel    string   `toml:"accel" help:"auto, kvm or emulate"`
	GPUs     []string `toml:"gpus" help:"PCI addresses of GPUs that may be taken from this host, as 0000:65:00.0"`
}

// Duration is a time.Duration written as "10m".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 10m or 2h", b)
	}
	if v < 0 {
		err = errors.New("must not be negative")
	}
	*d = Duration(v)
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String implements fmt.Stringer.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Default returns the configuration without a file.
func Default() *Config {
	return &Config{
		Defaults: Defaults{Backend: "local"},
		UI:       UI{Sort: "name", Theme: "auto", Mouse: true, DetachKey: "ctrl-] d", Notify: "none", JobBell: true},
		Daemon:   Daemon{Idle: Duration(10 * time.Minute)},
		Limits: Limits{Call: Duration(2 * time.Minute), Prepare: Duration(6 * time.Hour), Machine: Duration(20 * time.Minute),
			Agent: Duration(5 * time.Minute),
			Setup: Duration(12 * time.Hour), Question: Duration(2 * time.Minute), Gentle: Duration(90 * time.Second),
			Silence: Duration(15 * time.Second)},
		Backend: Backends{SSH: SSH{Transport: "own"}, Libvirt: Libvirt{Pool: "berth", Network: "auto", Accel: "auto"}},
		origin:  map[string]string{},
	}
}

// Load reads the file at path, which need not exist, and the environment.
func Load(path string, getenv func(string) string) (*Config, error) {
	c := Default()
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, api.Errorf(api.CodeUsage, "reading the configuration: %w", err)
	default:
		if err := c.parse(b, path); err != nil {
			return nil, err
		}
	}
	c.service = c.sum()
	for _, k := range c.Keys() {
		env := "BERTH_" + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
		v := getenv(env)
		if v == "" {
			continue
		}
		if err := k.set(v); err != nil {
			return nil, api.Errorf(api.CodeUsage, "%s=%q: %w", env, v, err).WithHint("it overrides %s of the configuration: %s",
				k.Name, k.Help)
		}
		c.origin[k.Name] = env
	}
	return c, c.validate()
}

// Service identifies what the file says of how the background service works: where it differs from what a
// running service was started with, that one works by another configuration. What each call brings along, or only
// the dashboard reads, is not in it.
func (c *Config) Service() string { return c.service }

func (c *Config) sum() string {
	h := sha256.New()
	for _, k := range c.Keys() {
		switch section, _, _ := strings.Cut(k.Name, "."); section {
		case "backend", "daemon", "limits", "attention":
			fmt.Fprintf(h, "%s=%q\n", k.Name, k.String())
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// parse reads TOML strictly: an unknown key is an error that names its line.
func (c *Config) parse(b []byte, path string) error {
	dec := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		explained := tomltext.Explain(path, err)
		if errors.As(err, new(*toml.StrictMissingError)) { // a key that is not there
			return api.AsError(explained).WithHint("look for a typing mistake; berth config keys lists the keys that there are")
		}
		return explained
	}
	var have map[string]any
	if err := toml.Unmarshal(b, &have); err != nil {
		return tomltext.Explain(path, err)
	}
	for _, k := range c.Keys() {
		if _, ok := lookup(have, strings.Split(k.Name, ".")); ok {
			c.origin[k.Name] = path
		}
	}
	return nil
}

func lookup(m map[string]any, path []string) (any, bool) {
	v, ok := m[path[0]]
	if !ok || len(path) == 1 {
		return v, ok
	}
	sub, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	return lookup(sub, path[1:])
}

func (c *Config) validate() error {
	for _, v := range []struct {
		key, value string
		allowed    []string
	}{
		{"ui.theme", c.UI.Theme, []string{"auto", "dark", "light", "none"}},
		{"ui.notify", c.UI.Notify, []string{"none", "bell", "osc9", "osc777"}},
		{"backend.ssh.transport", c.Backend.SSH.Transport, []string{"own", "openssh"}},
		{"backend.libvirt.accel", c.Backend.Libvirt.Accel, []string{"auto", "kvm", "emulate"}},
	} {
		ok := false
		for _, a := range v.allowed {
			ok = ok || v.value == a
		}
		if !ok {
			return api.Errorf(api.CodeUsage, "%s is %q (from %s): it must be one of %s", v.key, v.value, c.Origin(v.key),
				strings.Join(v.allowed, ", "))
		}
	}
	if c.Limits.Silence < Duration(5*time.Second) { // ssh's own program counts seconds
		return api.Errorf(api.CodeUsage, "limits.silence is %s (from %s): it must be 5s at least", c.Limits.Silence,
			c.Origin("limits.silence"))
	}
	return nil
}

// Settings returns the sections of the backends as text, by backend name and key.
func (c *Config) Settings() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, k := range c.Keys() {
		if rest, ok := strings.CutPrefix(k.Name, "backend."); ok {
			be, key, _ := strings.Cut(rest, ".")
			if out[be] == nil {
				out[be] = map[string]string{}
			}
			out[be][key] = k.String()
		}
	}
	return out
}

// Origin says where the value of a key comes from: "default", a file or a variable.
func (c *Config) Origin(key string) string {
	if o := c.origin[key]; o != "" {
		return o
	}
	return "default"
}

// Key is one leaf of the configuration.
type Key struct {
	Name string // "ui.theme"
	Help string
	v    reflect.Value
}

// Keys lists the leaves in the order of their declaration.
func (c *Config) Keys() []Key {
	var out []Key
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			tag := f.Tag.Get("toml")
			if tag == "" {
				continue
			}
			name := strings.TrimPrefix(prefix+"."+tag, ".")
			if f.Type.Kind() == reflect.Struct {
				walk(name, v.Field(i))
				continue
			}
			out = append(out, Key{name, f.Tag.Get("help"), v.Field(i)})
		}
	}
	walk("", reflect.ValueOf(c).Elem())
	return out
}

// Value returns the key's value for JSON.
func (k Key) Value() any { return k.v.Interface() }

// String returns the key's value as text; a list is joined by commas.
func (k Key) String() string {
	if l, ok := k.v.Interface().([]string); ok {
		return strings.Join(l, ",")
	}
	return fmt.Sprint(k.v.Interface())
}

// set parses text into the key's value.
func (k Key) set(s string) error {
	switch p := k.v.Addr().Interface().(type) {
	case *string:
		*p = s
	case *bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("neither true nor false")
		}
		*p = b
	case *[]string:
		*p = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	case *Duration:
		return p.UnmarshalText([]byte(s))
	default:
		return fmt.Errorf("a %T can't be set from the environment", p)
	}
	return nil
}
