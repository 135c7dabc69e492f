package libvirt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"berth/backend"
	"berth/backend/api"
)

// namespace marks Berth's element in a domain's metadata.
const namespace = "urn:berth:libvirt:1"

// metadata is what Berth keeps in the domain. All that it needs to know of a machine stands there: no
// other record of it exists on the provider's side.
type metadata struct {
	XMLName xml.Name `xml:"urn:berth:libvirt:1 instance"`
	Token   string   `xml:"token"`
	Home    string   `xml:"home"`           // whose volumes these are
	Name    string   `xml:"name"`           // the instance's
	Pool    string   `xml:"pool,omitempty"` // where its volumes are
	Size    string   `xml:"size,omitempty"`
	Image   string   `xml:"image,omitempty"`
	User    string   `xml:"user"`
	Network string   `xml:"network"`        // as network.go reads it
	Port    int      `xml:"port,omitempty"` // on loopback of libvirtd's host
	Disk    int64    `xml:"disk,omitempty"` // bytes
	SSH     bool     `xml:"ssh,omitempty"`
	Created string   `xml:"created,omitempty"` // RFC 3339
	Keys    []string `xml:"key"`               // public keys handed in, for a seed without the host key
	GPUs    []gpu    `xml:"gpu"`
	Tags    []tag    `xml:"tag"`
	Profile []string `xml:"profile"`          // of the image
	Copied  bool     `xml:"copied,omitempty"` // its disk was another machine's
	Agent   bool     `xml:"agent,omitempty"`  // one was handed in
	Base    string   `xml:"base,omitempty"`   // path of the file that the disk is laid over
	// The volumes of a direct boot.
	Kernel string `xml:"kernel,omitempty"`
	Initrd string `xml:"initrd,omitempty"`
	Append string `xml:"cmdline,omitempty"`
}

// gpu is a GPU that is passed through.
type gpu struct {
	Address string `xml:"address,attr"` // "0000:65:00.0", or the UUID of a mediated device
	Name    string `xml:"name,attr"`
	Bytes   int64  `xml:"bytes,attr,omitempty"`
}

type tag struct {
	Key   string `xml:"key,attr"`
	Value string `xml:",chardata"`
}

func tagsOf(m map[string]string) []tag {
	var out []tag
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, tag{k, m[k]})
	}
	return out
}

func (m *metadata) tags() map[string]string {
	if len(m.Tags) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, t := range m.Tags {
		out[t.Key] = t.Value
	}
	return out
}

func (m *metadata) gpus() []api.GPU {
	out := []api.GPU{}
	for _, g := range m.GPUs {
		out = append(out, api.GPU{Name: g.Name, MemoryBytes: g.Bytes})
	}
	return out
}

// tokens and homes stand in the names of volumes.
var (
	goodToken = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`) })
	goodHome  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`) })
)

// uuidOf is the UUID of the domain that a token makes.
func uuidOf(token string) golibvirt.UUID {
	sum := sha256.Sum256([]byte(namespace + "\n" + token))
	var u golibvirt.UUID
	copy(u[:], sum[:])
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80 // version 8: made by an application's own rule
	return u
}

func uuidText(u golibvirt.UUID) string { return uuid.UUID(u).String() }

// refUUID is the domain that a Ref means; ok is false if no domain of Berth's can have that id.
func refUUID(ref backend.Ref) (u golibvirt.UUID, ok bool) {
	if ref.ID == "" {
		return uuidOf(ref.Token), ref.Token != ""
	}
	p, err := uuid.Parse(ref.ID)
	return golibvirt.UUID(p), err == nil
}

// macOf is a locally administered address that only this token has.
func macOf(token string) string {
	sum := sha256.Sum256([]byte("mac\n" + token))
	return net.HardwareAddr{0x52, 0x54, sum[0], sum[1], sum[2], sum[3]}.String()
}

// domainName is the domain's name; second is used where another domain has the first.
func domainName(name, token string) (first, second string) {
	sum := sha256.Sum256([]byte(token))
	clean := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, name)
	first = "berth-" + clean
	return first, first + "-" + hex.EncodeToString(sum[:3])
}

// The volumes of a machine.
const (
	volDisk = "qcow2"
	volSeed = "seed.iso"
	volLog  = "log"
)

var volKinds = []string{volDisk, volSeed, volLog}

// volName is the name of a machine's volume: it carries home and token.
func volName(home, token, kind string) string {
	if !goodHome().MatchString(home) {
		home = "none"
	}
	return fmt.Sprintf("berth-vm.%s.%s.%s", home, token, kind)
}

// parseVolName is the reverse of volName.
func parseVolName(name string) (home, token, kind string, ok bool) {
	rest, ok := strings.CutPrefix(name, "berth-vm.")
	if !ok {
		return "", "", "", false
	}
	home, rest, _ = strings.Cut(rest, ".")
	token, kind, _ = strings.Cut(rest, ".")
	return home, token, kind, goodHome().MatchString(home) && goodToken().MatchString(token) && slices.Contains(volKinds,
		kind)
}

// domain is what Berth reads of a domain's XML.
type domain struct {
	UUID   string `xml:"uuid"`
	Name   string `xml:"name"`
	Memory struct {
		Value int64  `xml:",chardata"`
		Unit  string `xml:"unit,attr"`
	} `xml:"memory"`
	VCPU struct {
		Value   int `xml:",chardata"`
		Current int `xml:"current,attr"`
	} `xml:"vcpu"`
	OS struct {
		Type struct {
			Arch string `xml:"arch,attr"`
		} `xml:"type"`
	} `xml:"os"`
	Metadata struct {
		Own []metadata `xml:"urn:berth:libvirt:1 instance"`
	} `xml:"metadata"`
	Devices struct {
		Disks []struct {
			Device string `xml:"device,attr"`
			Source struct {
				File string `xml:"file,attr"`
			} `xml:"source"`
			Target struct {
				Dev string `xml:"dev,attr"`
			} `xml:"target"`
		} `xml:"disk"`
		Interfaces []struct {
			MAC struct {
				Address string `xml:"address,attr"`
			} `xml:"mac"`
			Source struct {
				Network string `xml:"network,attr"`
				Bridge  string `xml:"bridge,attr"`
			} `xml:"source"`
		} `xml:"interface"`
		Hostdevs []struct {
			Type string `xml:"type,attr"`
		} `xml:"hostdev"`
	} `xml:"devices"`
}

// parseDomain reads a domain's XML.
func parseDomain(text string) (*domain, error) {
	var d domain
	if err := xml.Unmarshal([]byte(text), &d); err != nil {
		return nil, fmt.Errorf("reading a domain's XML: %w", err)
	}
	return &d, nil
}

// own is Berth's metadata, or nil for a domain that is not Berth's.
func (d *domain) own() *metadata {
	if len(d.Metadata.Own) != 1 || d.Metadata.Own[0].Token == "" {
		return nil
	}
	return &d.Metadata.Own[0]
}

// memoryBytes is the memory at boot.
func (d *domain) memoryBytes() int64 {
	unit := map[string]int64{"b": 1, "bytes": 1, "KB": 1000, "k": 1 << 10, "KiB": 1 << 10, "": 1 << 10, "MB": 1e6,
		"M": 1 << 20, "MiB": 1 << 20, "GB": 1e9, "G": 1 << 30, "GiB": 1 << 30}[d.Memory.Unit]
	return d.Memory.Value * unit
}
